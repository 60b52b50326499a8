"""QuickJS, by the package `quickjs`: calls of its functions are hooks of a plugin."""

from __future__ import annotations

from functools import partial
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Original, Patches, around
from bext_otel_instrumentors.plugins.calls import PluginCall, plugin_name

__all__ = ["QuickJSInstrumentor"]

_HOOK = "_bext_hook"

# How the engine words the end of a script that reached a limit; it has no classes for them.
_LIMITS = {"InternalError: interrupted": "timeout", "InternalError: out of memory": "out_of_memory"}


class QuickJSInstrumentor(Instrumentor):
    """Instruments `quickjs.Function`: the hook is the function's name, the plugin its attribute
    `plugin_name`, else `unknown`.

    `quickjs.Context` is a type of C that cannot be instrumented: surround what it does by
    `operation(PLUGIN_HOOK, plugin=..., hook=...)`. The engine counts no fuel. A script that ran past its
    limit of time has failed with `timeout`; one past its limit of memory with `out_of_memory` if the engine
    still had the memory to say so, else it is a `script_error`.
    """

    # The versions whose functions run in a thread of their own
    requires = ("quickjs >= 1.19",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("quickjs", partial(_cover, patches))


def _cover(patches: Patches, module: Any) -> None:
    patches.wrap(module.Function, "__init__", around(_making))
    patches.wrap(module.Function, "__call__", around(_calling))


class _Call(PluginCall):
    __slots__ = ()

    def failure(self, error: BaseException) -> str:
        """The limit that was reached, `script_error` for what else a script throws, else the class."""
        kind = type(error).__name__
        if kind == "JSException":
            return _LIMITS.get(str(error).partition("\n")[0].strip(), "script_error")
        return "stack_overflow" if kind == "StackOverflow" else type(error).__qualname__


def _making(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> None:
    original(self, *args, **kwargs)
    name = args[0] if args else kwargs.get("name", "")
    setattr(self, _HOOK, name if isinstance(name, str) else "")


def _calling(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    with _Call(plugin_name(self), getattr(self, _HOOK, "")):
        return original(self, *args, **kwargs)
