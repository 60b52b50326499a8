"""Metrics: what is measured, kept, and read."""
