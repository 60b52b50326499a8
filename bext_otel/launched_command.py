"""Which command lines launch a server or a worker: a pure function of their words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["serves"]

_SERVERS = frozenset(
    {
        "arq",
        "cherryd",
        "daphne",
        "dramatiq",
        "granian",
        "gunicorn",
        "http.server",
        "huey-consumer",
        "hypercorn",
        "pyuwsgi",
        "rqworker",
        "sanic",
        "uvicorn",
        "uwsgi",
        "waitress",
        "waitress-serve",
    }
)
_OF_DJANGO = frozenset({"daphne", "qcluster", "rqworker", "runserver", "runserver-plus", "testserver"})
# Commands that do many things, and which of these serve.
_SUBCOMMANDS: Mapping[str, frozenset[str]] = {
    "bext-otel": frozenset({"demo", "view"}),
    "bext-otel.cli": frozenset({"demo", "view"}),
    "celery": frozenset({"beat", "flower", "worker"}),
    "django": _OF_DJANGO,
    "django-admin": _OF_DJANGO,
    "fastapi": frozenset({"dev", "run"}),
    "flask": frozenset({"run"}),
    "litestar": frozenset({"run"}),
    "manage": _OF_DJANGO,
    "quart": frozenset({"run"}),
    "rq": frozenset({"worker", "worker-pool"}),
    "streamlit": frozenset({"run"}),
    "twist": frozenset({"web"}),
    "twistd": frozenset({"web"}),
    "taskiq": frozenset({"scheduler", "worker"}),
}
# Options that may stand before a subcommand, and take the next word.
_WITH_VALUE = frozenset(
    {"-A", "--app", "-b", "--broker", "-C", "--config", "-e", "--env-file", "--loader", "--pythonpath"}
    | {"--result-backend", "--settings", "--workdir"}
)
# Options of Python's that take what follows, in the same word or in the next.
_CODE, _MODULE, _VALUE = "c", "m", "WX"
_EXTENSION = re.compile(r"(-script)?\.(pyw?|exe)$")


def serves(command: Sequence[str]) -> bool:
    """Does a command line of Python's, with the interpreter first, launch a server or a worker of a known
    kind? So does one of a server that has an interpreter in it, as uWSGI."""
    name, arguments = _launched(command)
    if name in _SERVERS or (command and _script(command[0]) in _SERVERS):
        return True
    known = _SUBCOMMANDS.get(name)
    return known is not None and next(_positional(arguments), "").replace("_", "-") in known


def _launched(command: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The name of the module or script, as commands are written, and what comes after it; "" where there is
    none."""
    at = 1
    while at < len(command):
        word = command[at]
        at += 1
        if not word.startswith("-") or word == "-":
            return _script(word), command[at:]
        if word.startswith("--"):
            at += word == "--check-hash-based-pycs"
            continue
        for place, option in enumerate(word[1:], 2):
            if option not in (_CODE, _MODULE, *_VALUE):
                continue
            value = word[place:] or (command[at] if at < len(command) else "")
            at += not word[place:]
            if option == _MODULE:
                return value.removesuffix(".__main__").replace("_", "-"), command[at:]
            if option == _CODE:
                return "", ()
            break
    return "", ()


def _script(path: str) -> str:
    folder, _, name = path.replace("\\", "/").rpartition("/")
    if name == "__main__.py":
        name = folder.rpartition("/")[2]
    return _EXTENSION.sub("", name).replace("_", "-")


def _positional(arguments: Sequence[str]) -> Iterator[str]:
    """The words that are no options, nor their values."""
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            yield word
