"""The test suite on every supported Python: `nox`, or `nox -s tests-3.12`."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
# An interpreter that is not on this machine is skipped by name, not failed.
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"])
def tests(session: nox.Session) -> None:
    """Run the tests that need no backend."""
    session.install("--upgrade", "pip")
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "not backends", *session.posargs)


@nox.session(python=["3.12"])
def upstream_patch(session: nox.Session) -> None:
    """Run the unit tests on the newest patch release of upstream, where parts of contrib may be missing."""
    session.install("--upgrade", "pip")
    session.install("-e", ".[test]")
    session.install("--upgrade", "--no-deps", "opentelemetry-api==1.45.2", "opentelemetry-sdk==1.45.2")
    session.run("pytest", "-m", "not backends and not e2e", *session.posargs)
