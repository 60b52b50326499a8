"""Who gets alerts: one call delivers a few of them, or raises."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec  # a command of the settings, never of a client
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TypeAlias
from urllib.parse import urlsplit

from bext_otel.alerts import bodies
from bext_otel.alerts.evaluation import Alert
from bext_otel.config.model import AlertReceiver
from bext_otel.errors import ConfigError
from bext_otel.export.http_client import HttpClient

__all__ = ["Deliver", "deliverer"]

Deliver: TypeAlias = Callable[[Sequence[Alert]], object]

_JSON = {"content-type": "application/json"}
_API = "/api/v2/alerts"


def deliverer(name: str, settings: AlertReceiver) -> Deliver:
    """What delivers to this receiver. Raises ConfigError where the settings do not say how."""
    where = f"[alerts.receivers.{name}]"
    if settings.kind == "command":
        if not settings.command:
            raise ConfigError(f'{where} has no command, e.g. ["/usr/local/bin/page", "--stdin"]')
        return partial(_run, name, settings)
    if settings.kind == "python":
        return _function(where, settings.function)
    parts = urlsplit(settings.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{where} url: expected an http:// or https:// URL with a host")
    url = settings.url
    if settings.kind == "alertmanager" and not parts.path.endswith(_API):
        url = url.rstrip("/") + _API
    try:
        client = HttpClient(url)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where} url: {error}") from error
    return partial(_post, client, name, settings)


def _post(client: HttpClient, name: str, settings: AlertReceiver, alerts: Sequence[Alert]) -> None:
    headers = dict(_JSON)
    if settings.kind == "alertmanager":
        body = bodies.alertmanager(alerts)
    elif settings.kind == "slack":
        body = bodies.slack(alerts)
    else:
        body = bodies.webhook(name, alerts)
        if settings.secret:
            headers.update(bodies.signed(body, settings.secret, time.time()))
    answer = client.post(body, headers, seconds=settings.timeout_seconds)
    if not 200 <= answer.status < 300:
        raise ConnectionError(f"answered {answer.status}")


def _run(name: str, settings: AlertReceiver, alerts: Sequence[Alert]) -> None:
    """The command gets the body of a webhook on its standard input; past its time it is killed with what it
    has started."""
    process = subprocess.Popen(  # noqa: S603  # nosec
        settings.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.communicate(bodies.webhook(name, alerts), timeout=settings.timeout_seconds)
    except BaseException:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        raise ChildProcessError(f"ended with {process.returncode}")


def _function(where: str, named: str) -> Deliver:
    """Imported when it is first needed: at our start the application is not there yet."""
    module, colon, function = named.partition(":")
    if not (module and colon and function):
        raise ConfigError(f'{where} function = {named!r}: expected "module:function"')

    def deliver(alerts: Sequence[Alert]) -> None:
        getattr(import_module(module), function)(bodies.documents(alerts))

    return deliver
