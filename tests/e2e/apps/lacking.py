"""Makes this interpreter lack what Python lacks on another system: modules, functions, constants, /proc, and the
start method of its processes. `LIKE` is `windows` or `macos`.

It is no such system: what these do in another way than Linux, they do not do here. Libraries are imported
before, since they choose by `sys.platform` what can't be imported here.
"""

from __future__ import annotations

import asyncio  # noqa: F401
import importlib.abc
import logging.handlers  # noqa: F401
import multiprocessing.resource_tracker
import os
import platform
import select
import shutil  # noqa: F401
import signal
import socket
import socketserver  # noqa: F401
import sys
import tempfile  # noqa: F401
import urllib.request  # noqa: F401
import wsgiref.simple_server  # noqa: F401

import click
import flask
import opentelemetry.exporter.otlp.proto.http.trace_exporter
import opentelemetry.sdk.resources  # noqa: F401
import psutil  # noqa: F401
import rich.console
import rich.progress  # noqa: F401
import structlog  # noqa: F401

__all__ = ["click", "flask"]

_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "_posixshmem"}
_WINDOWS = {
    os: "fork forkpty register_at_fork getuid geteuid getgid getegid getpgid getpgrp setsid setuid uname pread "
    "pwrite memfd_create O_TMPFILE O_CLOEXEC O_NONBLOCK O_NOFOLLOW O_DIRECTORY O_NOCTTY getloadavg WNOHANG killpg "
    "fchmod fchown chown sched_getaffinity wait4 waitid sendfile eventfd mkfifo sysconf getgroups",
    signal: "pthread_sigmask sigtimedwait sigwait sigwaitinfo sigpending pthread_kill siginterrupt alarm setitimer "
    "SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGKILL SIGALRM SIGPIPE SIGXFSZ",
    socket: "AF_UNIX SO_PEERCRED SCM_RIGHTS SOCK_SEQPACKET SO_REUSEPORT MSG_DONTWAIT CMSG_LEN send_fds recv_fds",
}
_MACOS = {
    os: "memfd_create O_TMPFILE eventfd sched_getaffinity pidfd_open",
    signal: "sigtimedwait sigwaitinfo",
    socket: "SO_PEERCRED SOCK_NONBLOCK SOCK_CLOEXEC",
}


class _Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in _MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _lack(without) -> None:
    for module, names in without.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)


class _Hidden(os.PathLike):
    """A directory that is not there."""

    def __fspath__(self) -> str:
        return "/there is no proc"


def _pair(*_):
    """As Python makes one where there are no local sockets."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        one = socket.create_connection(listening.getsockname())
        return one, listening.accept()[0]


multiprocessing.set_start_method("spawn", force=True)
platform.machine(), platform.python_version()  # kept, as they ask the system
if os.environ["LIKE"] == "windows":
    for name in _MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Blocked())
    _lack(_WINDOWS)
    socket.socketpair = _pair
    del select.poll
    sys.platform = "win32"
else:
    _lack(_MACOS)
    sys.platform = "darwin"

from bext_otel.service.procfs import Proc  # noqa: E402

Proc.__init__.__defaults__ = (_Hidden(),)  # type: ignore[assignment]
