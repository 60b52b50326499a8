"""Instruments of any meter: the application's own, and those of its libraries."""
