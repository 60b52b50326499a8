"""Django's cache framework."""
