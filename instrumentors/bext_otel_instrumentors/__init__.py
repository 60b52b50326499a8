"""Instrumentors of bext-otel: one module for each instrumented library, loaded by entry point."""
