"""uWSGI, which loads an application from C, and calls it from there: its module is all that Python sees.

What a module holds is measured before uWSGI takes it out of there (`--module`, `--wsgi`, `--mount`). What a
file holds (`--wsgi-file`) is not to be reached: it is measured where a framework that is instrumented
answers, and one line says so where none does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from bext_otel.process import on_fork
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.outermost import opens
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor

__all__ = ["UwsgiInstrumentor", "applications_of"]

_log = logging.getLogger("bext_otel")

# Options that name a module, and options that name a file.
_MODULES = ("module", "wsgi", "mount")
_FILES = ("wsgi-file", "file")
# What makes it take what is mounted for a file.
_ENDINGS = (".py", ".wsgi", ".ini")
# How uWSGI names the modules that it makes of files.
_OF_FILE = "uwsgi_file_"


class UwsgiInstrumentor(ServerInstrumentor):
    """Instruments the applications that uWSGI's options name."""

    def _patch(self, patches: Patches) -> None:
        super()._patch(patches)
        # It is installed in many environments, and runs in few of their processes.
        patches.when_imported("uwsgi", partial(self._embedded, patches))

    def _embedded(self, patches: Patches, uwsgi: ModuleType) -> None:
        options: Mapping[str, Any] = getattr(uwsgi, "opt", {})
        for module, names in applications_of(options).items():
            patches.when_imported(module, partial(self._loaded, names))
        if any(name in options for name in _FILES):
            patches.callback(on_fork(in_child=partial(_tell_of_files, options)))

    def _watch(self) -> None:
        """There is nothing to cover."""

    def _loaded(self, names: Iterable[str], module: ModuleType) -> None:
        for name in names:
            try:
                app = getattr(module, name, None)
                if app is not None:
                    setattr(module, name, self._served.wsgi(app))
            except Exception as error:
                report("the application of a server", error)
        self._serving()


def applications_of(options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """By module: the names under which uWSGI looks for an application in it, as its options (`uwsgi.opt`)
    say. One that is a factory's (`make()`) is nobody's before it is made."""
    named = next(_texts(options.get("callable")), "application")
    found: dict[str, tuple[str, ...]] = {}
    for option in _MODULES:
        for value in _texts(options.get(option)):
            where = value.rpartition("=")[2] if option == "mount" else value
            module, _, name = where.partition(":")
            name = name or named
            is_file = "/" in module or (option == "mount" and where.endswith(_ENDINGS))
            if module and not is_file and not name.endswith(")"):
                found[module] = (*found.get(module, ()), name)
    return found


def _texts(value: Any) -> Iterator[str]:
    """The values of an option, which is bytes, or a list of such where it stands more than once."""
    for each in value if isinstance(value, list) else (value,):
        if isinstance(each, bytes | str):
            yield each.decode("utf-8", "replace") if isinstance(each, bytes) else each


def _tell_of_files(options: Mapping[str, Any]) -> None:
    named = next(_texts(options.get("callable")), "application")
    for name, module in tuple(sys.modules.items()):
        app = getattr(module, named, None) if name.startswith(_OF_FILE) else None
        if type(app) is FunctionType and not opens(app):
            _log.warning(
                "uwsgi: the application of a file (%s) is measured where an instrumented framework answers; "
                "--module measures any",
                getattr(module, "__file__", name),
            )
