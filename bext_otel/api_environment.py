"""Variables that upstream's API reads when it is imported, so that no `configure()` comes before it.

An unknown propagator ends the program there, and an unknown provider where one is first asked for; an unknown
context is a traceback. Imported before anything of OpenTelemetry's wherever bext-otel comes first:
`opentelemetry-instrument` has imported that API by the time that it knows of us, but the program that it
starts has not. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from importlib.metadata import EntryPoint, entry_points

__all__ = ["PROPAGATORS", "correct", "found", "hand_over", "told", "without"]

PROPAGATORS = "OTEL_PROPAGATORS"
_CONTEXT = "OTEL_PYTHON_CONTEXT"
_GROUPS = {
    _CONTEXT: "opentelemetry_context",
    PROPAGATORS: "opentelemetry_propagator",
    **{
        f"OTEL_PYTHON_{kind}_PROVIDER": f"opentelemetry_{kind.lower()}_provider"
        for kind in ("TRACER", "METER", "LOGGER")
    },
}
# Those of upstream's. They are always there, and asking for more than them takes a look at each package that
# is installed.
_BUILT_IN = frozenset(
    {
        "tracecontext",
        "baggage",
        "contextvars_context",
        *(f"{which}_{kind}_provider" for which in ("sdk", "default") for kind in ("tracer", "meter")),
        "sdk_logger_provider",
    }
)
_DEFAULTS = {PROPAGATORS: "tracecontext, baggage"}

# From the launcher's process to the program's, which has a log.
_HANDED_OVER = "BEXT_OTEL_CORRECTED"

_lines: list[str] = []


def found(group: str, name: str) -> EntryPoint | None:
    """What another package offers by this name; the first one, as upstream has it."""
    offered = entry_points(group=group, name=name)
    return next((point for point in offered if not point.value.startswith("bext_otel")), None)


def correct(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take out what upstream would not take, and keep a line for each."""
    for variable in _GROUPS:
        raw = environ.get(variable)
        if raw is None:
            continue
        # Several propagators may be named, but only one of the others; upstream asks for each by its exact
        # name.
        words = list(
            dict.fromkeys(word.strip() for word in (raw.split(",") if variable == PROPAGATORS else [raw]))
        )
        if variable == PROPAGATORS and any(word.lower() == "none" for word in words):
            continue
        # A propagator may import what reads the variable, so those that are not there have to be out of it
        # before one is made.
        for is_there in (_is_offered, _can_be_made):
            kept = [word for word in words if word and is_there(variable, word)]
            _keep(environ, variable, kept)
            _lines.extend(
                without(variable, word, ", ".join(kept)) for word in words if word and word not in kept
            )
            words = kept


def _keep(environ: MutableMapping[str, str], variable: str, words: list[str]) -> None:
    if words:
        environ[variable] = ",".join(words)
    else:
        environ.pop(variable, None)


def _is_offered(variable: str, name: str) -> bool:
    # A name that only we know is a stand-in's, which upstream takes; it is told when bext-otel is set up.
    return name in _BUILT_IN or bool(entry_points(group=_GROUPS[variable], name=name))


def _can_be_made(variable: str, name: str) -> bool:
    """Whether upstream, which makes propagators and the context at its import, will not fail. Providers are
    made later, and once."""
    if name in _BUILT_IN or variable not in {PROPAGATORS, _CONTEXT}:
        return True
    try:
        point = found(_GROUPS[variable], name)
        return point is None or point.load()() is not None
    except Exception:
        return False


def without(variable: str, name: str, instead: str = "") -> str:
    """The line for a part that nobody offers."""
    shown = name[:64] if name.isprintable() else ascii(name[:64])
    used = instead or _DEFAULTS.get(variable, "the default")
    return (
        f"{variable}: nothing that works has the name {shown!r}; install the package that offers it; "
        f"using {used}"
    )


def hand_over(environ: MutableMapping[str, str] = os.environ) -> None:
    """Leave the lines to the program that the launcher becomes."""
    if _lines:
        environ[_HANDED_OVER] = "\n".join(_lines)


def told(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """The lines so far, this process's and its launcher's; once."""
    lines = [*filter(None, environ.pop(_HANDED_OVER, "").split("\n")), *_lines]
    _lines.clear()
    return list(dict.fromkeys(lines))


correct()
