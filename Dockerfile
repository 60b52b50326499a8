# The demo platform under bext-otel run. Any image with Python 3.10 or later and its venv module serves as BASE.
ARG BASE=docker.io/library/python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/demo \
 && /opt/demo/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/demo/bin/pip install --no-cache-dir "$(ls /wheels/*.whl)[demo]"

FROM ${BASE}
COPY --from=build /opt/demo /opt/demo
COPY examples /srv/examples
# Numbers, so that an orchestrator can see that this is not root; the home is where the demo keeps its database.
RUN mkdir -p /srv/data && chown 10001:10001 /srv/data
USER 10001:10001
WORKDIR /srv/data
ENV PATH=/opt/demo/bin:$PATH HOME=/srv/data DEMO_DATA_DIR=/srv/data PYTHONUNBUFFERED=1 BEXT_CONFIG=/srv/examples/bext.config.toml
EXPOSE 8000 9464
CMD ["bext-otel", "run", "uvicorn", "--app-dir", "/srv/examples", "--host", "0.0.0.0", "--port", "8000", "bext_demo.asgi:app"]
