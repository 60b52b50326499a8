"""Servers: a request is opened where the application is called; its framework only tells the route."""
