"""cachetools."""
