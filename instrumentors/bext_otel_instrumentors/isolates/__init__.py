"""Isolates."""
