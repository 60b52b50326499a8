"""Probes and what they add up to."""
