"""Compressed bodies."""
