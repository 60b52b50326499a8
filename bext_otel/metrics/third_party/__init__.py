"""Metrics that others make: by the SDK's own instruments, and by `prometheus_client`."""
