"""OTLP in: bodies, their limits, and the messages that come of them."""
