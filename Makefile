# `make demo` and `make test` need make, Python 3.10 or newer with venv, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo quick test lint format docs lock package sbom audit lowest versions bench gate faults fuzz nox newer backends applications clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(VENV)/demo.done  ## run the demo platform with traffic and a local viewer (ARGS=--once ends by itself)
	$(BIN)/bext-otel demo $(ARGS)

quick: $(VENV)/dev.done  ## the tests to run at each change: no servers, no backends; a minute and a half
	$(BIN)/python scripts/run_tests.py --quick $(ARGS)

test: $(VENV)/dev.done  ## run the whole test suite, on all cores (ARGS=tests/logs runs a part, in one process)
	$(BIN)/python scripts/run_tests.py $(ARGS)

lint: $(VENV)/dev.done  ## formatting, ruff, mypy, bandit, import contract, generated files
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples/bext_demo
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive bext_otel instrumentors examples
	$(BIN)/python scripts/distribution.py --check
	$(BIN)/bext-otel catalogue --check docs/metrics.md
	$(BIN)/bext-otel catalogue --prometheus-rules --check collector-config/bext-alerts.yml
	$(BIN)/python scripts/settings_reference.py --check
	$(BIN)/python scripts/api_reference.py --check
	$(BIN)/python scripts/specification.py --check
	$(BIN)/python scripts/semantic_conventions.py --check

docs: $(VENV)/dev.done  ## write the generated pages again
	$(BIN)/python scripts/distribution.py
	$(BIN)/bext-otel catalogue --write docs/metrics.md
	$(BIN)/bext-otel catalogue --prometheus-rules --write collector-config/bext-alerts.yml
	$(BIN)/python scripts/settings_reference.py
	$(BIN)/python scripts/api_reference.py
	$(BIN)/python scripts/specification.py
	$(BIN)/python scripts/semantic_conventions.py

lock: $(VENV)/dev.done  ## write the versions and hashes of the image again, where pyproject.toml wants it (ARGS=--upgrade takes the newest)
	$(BIN)/python scripts/lock.py $(ARGS)

package: $(VENV)/dev.done  ## wheel and sdist in dist/, built twice and compared, and checked as the index would
	$(BIN)/python scripts/package.py

sbom: $(VENV)/dev.done  ## what the image holds, as a CycloneDX bill of materials in dist/
	$(BIN)/python scripts/sbom.py

audit: $(VENV)/dev.done  ## known vulnerabilities of what the image holds
	$(BIN)/python scripts/audit.py

lowest: $(VENV)/dev.done  ## part of the tests with the lowest versions that we say we work with
	$(BIN)/python scripts/lowest_versions.py $(ARGS)

versions: $(VENV)/dev.done  ## part of the tests with OpenTelemetry from the oldest version that we support to the newest (ARGS=1.42.1 takes one)
	$(BIN)/python scripts/upstream_versions.py test $(ARGS)

bench: $(VENV)/dev.done  ## what requests, lines, scrapes, caches and plugins cost, beside a bare application and upstream
	$(BIN)/python -m benchmarks.requests
	$(BIN)/python -m benchmarks.request_parts
	$(BIN)/python -m benchmarks.request_steps
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.spans
	$(BIN)/python -m benchmarks.lines
	$(BIN)/python -m benchmarks.exposition
	$(BIN)/python -m benchmarks.instruments
	$(BIN)/python -m benchmarks.cache_hit
	$(BIN)/python -m benchmarks.plugin_hook
	$(BIN)/python -m benchmarks.quiet
	$(BIN)/python -m benchmarks.idle
	$(BIN)/python -m benchmarks.weight
	$(BIN)/python -m benchmarks.listener
	$(BIN)/python -m benchmarks.viewer_memory
	$(BIN)/python -m benchmarks.anomalies

gate: $(VENV)/dev.done  ## what requests, spans, lines and instruments cost beside upstream: fails above 1.5 of benchmarks/overhead.json
	$(BIN)/python -m benchmarks.gate

faults: $(VENV)/dev.done  ## the faults at full length: 400 workers killed among millions of counts, memory taken away, clocks turned back, 20 recyclings
	BEXT_FAULT_KILLS=400 BEXT_RECYCLINGS=20 $(BIN)/python -m pytest tests/faults tests/service/test_storm.py tests/e2e/test_port_handed_over.py $(ARGS)

fuzz: $(VENV)/dev.done  ## coverage-guided fuzzing of whatever parses others' bytes, a quarter of a minute each (needs atheris)
	$(BIN)/python scripts/fuzz.py $(ARGS)

nox: $(VENV)/dev.done  ## the test suite on every Python that is here
	$(BIN)/nox

newer:  ## the tests on Python 3.14 and 3.15 from Debian's unstable suite (needs root and Debian)
	scripts/newer_pythons.sh install
	scripts/newer_pythons.sh make
	scripts/newer_pythons.sh test $(ARGS)

backends:  ## install and build the collector, Jaeger and Prometheus for the end-to-end tests (needs root, Go and Debian)
	scripts/backends.sh install
	scripts/backends.sh build all
	scripts/images.sh make

applications: $(VENV)/dev.done  ## install the real applications of tests/applications, each in an environment of its own
	$(BIN)/python scripts/applications.py install

clean:  ## remove what make made in this checkout
	rm -rf $(VENV) .nox build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "bext-otel needs Python 3.10 or newer; $(PYTHON) is older: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "This Python has no venv: on Debian, apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/demo.done: pyproject.toml | $(VENV)/bin/python
	@echo "Installing bext-otel and the demo's libraries (a minute or two, once) ..."
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/dev.done: pyproject.toml | $(VENV)/bin/python
	@echo "Installing bext-otel and everything its tests use (a few minutes, once) ..."
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/demo.done
