"""Variables that upstream's API and SDK read when they are imported, so that no `configure()` comes before
it.

An unknown propagator ends the program there, and an unknown provider where one is first asked for; an unknown
context or detector is a traceback. Imported before anything of OpenTelemetry's wherever bext-otel comes
first: `opentelemetry-instrument` has imported that API by the time that it knows of us, but the program that
it starts has not. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from importlib.metadata import EntryPoint, entry_points

__all__ = ["PROPAGATORS", "correct", "found", "hand_over", "told", "without"]

PROPAGATORS = "OTEL_PROPAGATORS"
_CONTEXT = "OTEL_PYTHON_CONTEXT"
_DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
_GROUPS = {
    _CONTEXT: "opentelemetry_context",
    _DETECTORS: "opentelemetry_resource_detector",
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
_LISTS = frozenset({PROPAGATORS, _DETECTORS})
# What upstream makes at its import, or wherever a resource is made; providers are made later, and once.
_MADE_EARLY = frozenset({PROPAGATORS, _CONTEXT, _DETECTORS})

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
        words = _words(variable, raw)
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


def _words(variable: str, raw: str) -> list[str]:
    """The names in it, of which upstream asks for each as it is written; `*` stands for every detector that
    is installed."""
    words = list(dict.fromkeys(word.strip() for word in (raw.split(",") if variable in _LISTS else [raw])))
    if variable != _DETECTORS or "*" not in words:
        return words
    place = words.index("*")
    others = sorted(entry_points(group=_GROUPS[variable]).names - {"otel", *words})
    return [*words[:place], *others, *words[place + 1 :]]


def _keep(environ: MutableMapping[str, str], variable: str, words: list[str]) -> None:
    if words:
        environ[variable] = ",".join(words)
    else:
        environ.pop(variable, None)


def _is_offered(variable: str, name: str) -> bool:
    # A name that only we know is a stand-in's, which upstream takes; it is told when bext-otel is set up.
    return name in _BUILT_IN or bool(entry_points(group=_GROUPS[variable], name=name))


def _can_be_made(variable: str, name: str) -> bool:
    """Whether upstream will not fail to make it."""
    if name in _BUILT_IN or variable not in _MADE_EARLY:
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
