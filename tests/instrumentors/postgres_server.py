"""A real PostgreSQL on loopback, for one module's tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which

import psycopg
import pytest

from tests.e2e.backends import free_port
from tests.waiting import until

__all__ = ["postgres_server"]


@contextmanager
def postgres_server() -> Iterator[int]:
    """The port of a PostgreSQL whose superuser `postgres` needs no password."""
    initdb, server = which("initdb"), which("postgres")
    if initdb is None or server is None:
        pytest.skip("needs PostgreSQL's initdb and postgres on the path")
    # It refuses to be root.
    user = None
    if os.getuid() == 0:
        with suppress(KeyError):
            user = pwd.getpwnam("postgres").pw_name
        if user is None:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="bext-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": user, "cwd": folder}
    subprocess.run(
        [initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        **quiet,  # type: ignore[call-overload]
    )
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    process = subprocess.Popen([server, "-D", data, *options], **quiet)  # type: ignore[call-overload]
    try:
        until(lambda: _answers(port), why="PostgreSQL to answer")
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
        return True
    return False
