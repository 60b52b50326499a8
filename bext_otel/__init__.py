"""OpenTelemetry distribution for the bext platform."""
