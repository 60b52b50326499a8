"""`OTEL_CONFIG_FILE`, the declarative configuration: which file, and the variables that it stands for.

The specification: a file decides, and other variables of the SDK's are passed over, but for those that it
refers to. What it says becomes variables of this process, as whoever reads them reads them late and upstream
does so by itself. Programs that this one starts read the same file: they get the variables back as they
were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

__all__ = ["config_file", "put_aside", "put_back", "replace_variables"]

_NAMES = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
# What was there before, by the name of the variable, beside what stands for it.
_BEFORE = "_BEXT_OTEL_BEFORE_CONFIG_FILE"
# Variables of the SDK's that have a place in the file. Others, of the launcher's and of instrumentations, and
# those by which a program brings providers of its own, have none and stay.
_OF_THE_SDK = re.compile(
    r"OTEL_(?:SDK_DISABLED|RESOURCE_ATTRIBUTES|ENTITIES|SERVICE_NAME|LOG_LEVEL|PROPAGATORS|TRACES_SAMPLER(?:_ARG)?"
    r"|BSP_\w+|BLRP_\w+|\w+_LIMIT|EXPORTER_\w+|(?:TRACES|METRICS|LOGS)_EXPORTER|METRIC_EXPORT_\w+"
    r"|METRICS_EXEMPLAR_FILTER|EXPERIMENTAL_RESOURCE_DETECTORS|PYTHON_ID_GENERATOR"
    r"|PYTHON_(?:TRACER|METER|LOGGER)_CONFIGURATOR)"
)


def config_file(environ: Mapping[str, str]) -> str:
    """The file that is named; "" if none is."""
    return next((name for each in _NAMES if (name := environ.get(each, "").strip())), "")


def put_back(environ: MutableMapping[str, str]) -> None:
    """Undo what `replace_variables` of a program has done that started this one, but for what that one has
    set for this one by itself."""
    text = environ.pop(_BEFORE, "")
    if not text:
        return
    try:
        changes = dict(json.loads(text))
        for name, (before, after) in changes.items():
            if _OF_THE_SDK.fullmatch(name) and environ.get(name) == after:
                _set(environ, name, before)
    except (ValueError, TypeError):  # somebody has written something else there
        return


@contextmanager
def put_aside(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Without the SDK's variables: modules of upstream's read them when they are imported, and raise for some
    values."""
    found = {name: environ.pop(name) for name in tuple(environ) if _OF_THE_SDK.fullmatch(name)}
    try:
        yield
    finally:
        environ.update(found)


def replace_variables(environ: MutableMapping[str, str], variables: Mapping[str, str]) -> tuple[str, ...]:
    """Have `variables`, and no others of the SDK's; the names of those that are passed over."""
    names = {name for name in environ if _OF_THE_SDK.fullmatch(name)}
    changes: dict[str, tuple[str | None, str | None]] = {}
    for name in sorted(names | variables.keys()):
        before, after = environ.get(name), variables.get(name)
        if before != after:
            changes[name] = before, after
            _set(environ, name, after)
    environ[_BEFORE] = json.dumps(changes)
    return tuple(sorted(names - variables.keys()))


def _set(environ: MutableMapping[str, str], name: str, value: str | None) -> None:
    if value is None:
        environ.pop(name, None)
    else:
        environ[name] = value
