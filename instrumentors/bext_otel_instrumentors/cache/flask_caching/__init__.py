"""Flask-Caching."""
