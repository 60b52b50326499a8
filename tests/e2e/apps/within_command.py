"""A command that is traced, as click's are, and serves for as long as it runs."""

import sys

import uvicorn
from opentelemetry import trace
from starlette_app import app

if __name__ == "__main__":
    with trace.get_tracer("command").start_as_current_span("serve"):
        uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
