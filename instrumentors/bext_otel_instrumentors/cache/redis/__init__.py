"""redis-py, where it is used as a cache."""
