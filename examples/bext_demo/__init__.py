"""A coffee roaster's platform: a website, a dashboard and an API in one process."""
