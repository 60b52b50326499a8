"""Whose work it is: the application of a request, and label values that nobody outside can multiply."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from json import dumps
from threading import RLock
from time import monotonic
from typing import Any, TypeAlias

from opentelemetry.context import Context, create_key, get_current, set_value

from bext_otel.catalogue import LABEL_KEYS, OVERFLOW, UNKNOWN, Label
from bext_otel.config import AppSettings
from bext_otel.errors import ConfigError
from bext_otel.process import on_fork
from bext_otel.text import encodable

__all__ = [
    "APP_KEY",
    "BAGGAGE_KEY",
    "AppResolver",
    "Budget",
    "Budgets",
    "Resolver",
    "clean",
    "current_app",
    "cut_figures",
    "default_app",
    "guarded",
    "host_name",
    "import_resolver",
    "with_app",
]

Resolver: TypeAlias = Callable[[str, str], str]
"""Maps a request's host (the Host header, as sent) and path (with what it is mounted under) to the name of
its app."""

BAGGAGE_KEY = "bext.app"
"""Baggage entry that tells the operator's own services the app. An incoming one is never believed, and ends
here."""

_log = logging.getLogger("bext_otel")

APP_KEY = create_key("bext-otel-app")
"""Under which a context holds the app whose work is done; `current_app` reads it."""

_MAX_CHARACTERS = 256
# Hexadecimal digits of the digest that a value which is cut ends in, and how much of a value is read for it
# from each end.
_DIGEST = 16
_MAX_DIGESTED = 32_768
# How many values that were cut, and labels that had such a value, are remembered.
_MAX_REMEMBERED = 4096

# A DNS name has at most 253 characters; past this a Host header is not worth reading.
_MAX_HOST = 300


class AppResolver:
    """Finds the app of a request in `[apps]`: the longest path prefix or mount, then the host, then the
    prefix `/`, then `default`.

    A prefix matches whole segments: `/api` is `/api` and `/api/x`, not `/apiary`. Hosts are compared without
    case, port and trailing dot; `*.shop.example` is every name below `shop.example`. Where two apps claim the
    same, the first one named has it.

    Takes a few dictionary look-ups, no more than the deepest prefix has segments and the longest suffix
    labels, and keeps nothing of what clients send.
    """

    def __init__(self, apps: Mapping[str, AppSettings], *, default: str) -> None:
        self._prefixes: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self._suffixes: dict[str, str] = {}
        for name, app in apps.items():
            shown = clean(name)
            for prefix in (*app.paths, *app.mounts):
                self._prefixes.setdefault(prefix.rstrip("/"), shown)
            for host in app.hosts:
                table = self._suffixes if host.startswith("*.") else self._hosts
                table.setdefault(host_name(host.removeprefix("*.")), shown)
        self._default = self._prefixes.pop("", default)
        # How far a path is split from the left, and a host from the right: no further than something
        # configured reaches.
        self._depth = max((prefix.count("/") for prefix in self._prefixes), default=0)
        self._labels = max((suffix.count(".") + 1 for suffix in self._suffixes), default=0)
        self._is_plain = not (self._prefixes or self._hosts or self._suffixes)

    def __call__(self, host: str, path: str) -> str:
        """The app of a request; `host` as in the Host header ("" if there was none), `path` decoded and
        complete."""
        if self._is_plain:
            return self._default
        return (self._by_path(path) if self._depth else None) or self._by_host(host) or self._default

    def _by_path(self, path: str) -> str | None:
        segments = path.split("/", self._depth + 1)[: self._depth + 1]
        while len(segments) > 1:
            found = self._prefixes.get("/".join(segments))
            if found is not None:
                return found
            segments.pop()
        return None

    def _by_host(self, host: str) -> str | None:
        found = self._hosts.get(host)  # most clients send it as it is configured
        if found is not None or len(host) > _MAX_HOST or not (self._hosts or self._suffixes):
            return found
        name = host_name(host)
        found = self._hosts.get(name)
        if found is None and self._labels:
            labels = name.rsplit(".", self._labels)
            while found is None and len(labels) > 1:
                del labels[0]
                found = self._suffixes.get(".".join(labels))
        return found


def host_name(host: str) -> str:
    """The name in a Host header: in lower case, without port, without the dot at the end, an IPv6 address
    without brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    if name.count(":") == 1:
        name = name.partition(":")[0]
    return name.removesuffix(".")


def default_app(apps: Mapping[str, AppSettings], service_name: str) -> str:
    """The app of requests that match none: the service itself where no apps are configured, or one of its
    name that claims no host or path; the only one that is, if it claims none and says how its requests are to
    be told, since nothing else could be meant; else `unknown`."""
    named = apps.get(service_name)
    if service_name and (not apps or (named is not None and not _claims(named))):
        return clean(service_name)
    if len(apps) == 1:
        ((name, app),) = apps.items()
        says = AppSettings(version=app.version, status=app.status) != app
        if says and not _claims(app):
            return clean(name)
    return UNKNOWN


def _claims(app: AppSettings) -> bool:
    return bool(app.hosts or app.paths or app.mounts)


def guarded(resolver: Resolver, *, failed: Callable[[str], None] | None = None) -> Resolver:
    """`resolver` made safe to call in a request: where it raises, or returns no name, the app is `unknown`.

    `failed` is told of the first such failure, with one line that names the function and what to do.
    """
    told = False

    def resolve(host: str, path: str) -> str:
        nonlocal told
        try:
            app = resolver(host, path)
            if isinstance(app, str) and app:
                return clean(app)
            reason = f"returned {type(app).__name__}" if app != "" else "returned no name"
        except Exception as error:
            # A resolver is the application's code, its failure must not be the request's.
            reason = f"raised {type(error).__name__}"
        if not told and failed is not None:
            told = True
            name = getattr(resolver, "__qualname__", type(resolver).__qualname__)
            line = (
                f"[telemetry] app_resolver: {name} {reason}, so the app is {UNKNOWN!r}; return an app's "
                "name for every request"
            )
            with suppress(Exception):  # telling is not worth a request either
                failed(line)
        return UNKNOWN

    return resolve


def import_resolver(reference: str) -> Resolver:
    """The function that `[telemetry] app_resolver` names as `module:function`. Raises ConfigError where there
    is none."""
    module_name, _, name = reference.partition(":")
    setting = f"[telemetry] app_resolver = {reference!r}"
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise ConfigError(
            f"{setting}: module {module_name!r} has no {name!r}; name a function as module:function"
        ) from None
    except Exception as error:
        # The module is the application's code and may raise anything while it is imported.
        raise ConfigError(
            f"{setting}: {module_name!r} cannot be imported ({type(error).__name__}); name a function as "
            "module:function"
        ) from error
    if not callable(found):
        raise ConfigError(
            f"{setting}: is {type(found).__name__}; expected a function of host and path that returns the "
            "name of an app"
        )
    resolver: Resolver = found
    return resolver


def current_app(context: Context | None = None) -> str | None:
    """The app whose work is being done in `context` (default: the current one); None outside of any."""
    app = (get_current() if context is None else context).get(APP_KEY)
    return app if isinstance(app, str) else None


def with_app(app: str, context: Context | None = None) -> Context:
    """`context` (default: the current one) as the context of `app`'s work."""
    return set_value(APP_KEY, clean(app), context)


def clean(value: object, label: str = "") -> str:
    """A label value as text that can always be written as UTF-8, of at most 256 characters.

    Bytes are decoded; lone surrogates, NUL and bytes that are not UTF-8 become U+FFFD; True is `true`, and
    lists are JSON, as in the OpenTelemetry specification for Prometheus. A longer text is cut and ends in `~`
    and a digest of all of it (of its two ends, from 64 KiB on), so that two that differ stay apart. That is
    counted, and one line says so for each `label`.
    """
    text = value if type(value) is str else _text(value)
    if len(text) > _MAX_CHARACTERS:
        text = _cut(text, label)
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return encodable(text)


# The digests of values that were cut, and the labels that were told of; how many values were cut in this
# process.
_cut_values: dict[str, None] = {}
_cut_labels: set[str] = set()
_values_cut = 0


def _cut(text: str, label: str) -> str:
    global _values_cut
    read = (
        text
        if len(text) <= 2 * _MAX_DIGESTED
        else f"{text[:_MAX_DIGESTED]}{len(text)}{text[-_MAX_DIGESTED:]}"
    )
    digest = blake2b(
        read.encode("utf-8", "surrogatepass"), digest_size=_DIGEST // 2, usedforsecurity=False
    ).hexdigest()
    if digest not in _cut_values:
        _values_cut += 1
        if len(_cut_values) < _MAX_REMEMBERED:
            _cut_values[digest] = None
    if label and label not in _cut_labels and len(_cut_labels) < _MAX_REMEMBERED:
        _cut_labels.add(label)
        _log.warning(
            "values of label %s are longer than %d characters: they are cut, and end in a digest of the "
            "whole; give shorter ones",
            label,
            _MAX_CHARACTERS,
        )
    return f"{text[: _MAX_CHARACTERS - _DIGEST - 1]}~{digest}"


def cut_figures() -> Mapping[str, int]:
    """How many label values were cut in this process; nothing while none was."""
    return {"label_values_cut": _values_cut} if _values_cut else {}


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # an enumeration's member is its value, not `Color.RED`
    if isinstance(value, (bytes, bytearray)):
        read = (
            bytes(value)
            if len(value) <= _MAX_DIGESTED
            else bytes(value[: _MAX_DIGESTED // 2] + value[-_MAX_DIGESTED // 2 :])
        )
        text = read.decode("utf-8", "replace")
        return text if len(value) <= _MAX_DIGESTED else f"{text}{len(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return dumps(value, default=str) if isinstance(value, (list, tuple)) else str(value)
    except Exception:  # __str__ is the application's code; a label that cannot be shown is unknown
        return UNKNOWN


# One lock for all budgets: it is taken for new values only. Reentrant, since a signal handler may measure
# too.
_admission = RLock()


def _in_child() -> None:
    global _admission, _values_cut
    _admission = RLock()
    _values_cut = 0


# Another thread of the parent may hold it at the moment of a fork, and would never give it back in the child.
on_fork(in_child=_in_child)


class Budget:
    """The values that one label may show: the first `limit` different ones, and `OVERFLOW` for all others.

    For a label with a closed set, a value outside of it becomes `_OTHER` or `unknown`, if the set has that,
    else `OVERFLOW`. `overflowed` counts how often a value was folded into that. `admitted` has the
    values and since when (monotonic seconds), which is how the workers of a service agree on whose values
    stay. Memory is bounded by the limit.
    """

    def __init__(self, label: Label, limit: int) -> None:
        self.label = label
        self.limit = limit
        self.overflowed = 0
        self.admitted: dict[str, float] = {}
        self._closed = None if label.values is None else frozenset(label.values)
        self._other = next((name for name in ("_OTHER", UNKNOWN) if name in (label.values or ())), OVERFLOW)

    def admit(self, value: str) -> str:
        """What to show for `value`: itself, or what it is folded into. An admitted value stays admitted."""
        if value in self.admitted or value == OVERFLOW:
            return value
        with _admission:
            if self._closed is not None and value not in self._closed:
                value = self._other
            if value in self.admitted:
                return value
            if value != OVERFLOW and len(self.admitted) < self.limit:
                self.admitted[value] = monotonic()
                return value
            self.overflowed += 1
            return OVERFLOW


class Budgets:
    """A budget for each label, made when it is first asked for. `overrides` are limits by label name, from
    `[metrics.budgets]`."""

    def __init__(self, overrides: Mapping[str, int]) -> None:
        self._overrides = overrides
        self._budgets: dict[Label, Budget] = {}

    def of(self, label: Label) -> Budget:
        """The budget of `label`. Labels are told apart by identity: two may share a name and have different
        closed sets."""
        found = self._budgets.get(label)
        if found is None:
            found = self._budgets.setdefault(
                label, Budget(label, self._overrides.get(label.name, label.budget))
            )
        return found

    @property
    def overrides(self) -> Mapping[str, int]:
        """Limits by label name, as `[metrics.budgets]` has them."""
        return self._overrides

    def of_attributes(self) -> Mapping[str, Budget]:
        """Budgets for the attributes of one instrument of the OpenTelemetry API's, by name: of those that
        `[metrics.budgets]` names."""
        made = {name: Budget(Label(name, "", budget=limit), limit) for name, limit in self._overrides.items()}
        for budget in made.values():
            self._budgets[budget.label] = budget
        return made

    def admitted(self) -> dict[str, dict[str, float]]:
        """Values of the catalogue's open labels and since when they are admitted, by the label's key; a
        closed set needs no agreement."""
        return {
            LABEL_KEYS[label]: dict(budget.admitted)
            for label, budget in tuple(self._budgets.items())
            if label.values is None and label in LABEL_KEYS
        }

    def overflowed(self) -> Mapping[str, int]:
        """How often values were folded, by label name; labels that never were are left out."""
        found: dict[str, int] = {}
        for budget in tuple(self._budgets.values()):
            if budget.overflowed:
                found[budget.label.name] = found.get(budget.label.name, 0) + budget.overflowed
        return found
