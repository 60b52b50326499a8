# The demo platform under bext-otel run. Any image with Python 3.10 or later and its venv module serves as BASE.
ARG BASE=docker.io/library/python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
# What `make lock` wrote, by hash, and no code of a package's runs to install it.
ENV PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all: PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements-build.txt requirements-image.txt ./
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --requirement requirements-build.txt \
 && python3 -m venv /opt/demo && /opt/demo/bin/pip install --requirement requirements-image.txt
COPY . .
ENV PIP_REQUIRE_HASHES=0 PIP_ONLY_BINARY= PIP_NO_INDEX=1 PIP_NO_DEPS=1
RUN /opt/build/bin/pip wheel --no-build-isolation --wheel-dir /wheels . \
 && /opt/demo/bin/pip install /wheels/*.whl \
 && /opt/demo/bin/pip check

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
