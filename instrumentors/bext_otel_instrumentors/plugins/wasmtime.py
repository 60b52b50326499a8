"""wasmtime: calls of exported functions are hooks of a plugin, with the fuel that the engine's own meter
counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches, around
from bext_otel_instrumentors.plugins.calls import PluginCall, plugin_name
from bext_otel_instrumentors.plugins.wasm import Burning, burn, burned, refueling, text_name

__all__ = ["WasmtimeInstrumentor"]

# Of modules and components, and what instances are made of: the plugin's name. Of functions: the plugin and
# the hook.
_PLUGIN = "_bext_plugin"
_HOOK = "_bext_hook"
_UNNAMED = ("", "")


class WasmtimeInstrumentor(Instrumentor):
    """Instruments calls of exported functions, of modules and of components.

    The hook is the export's name. The plugin is the attribute `plugin_name` that the application sets on the
    instance or on the module, else the name after `(module` in a text, else the stem of the file it was
    loaded from, else `unknown`; for a function that comes from a linker by name, the name of its module
    there. An exit of a WASI program with status 0 is a success.
    """

    # The versions whose stores have `get_fuel` and whose classes are known
    requires = ("wasmtime >= 30",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("wasmtime", partial(_cover, patches))
        patches.when_imported("wasmtime.component", partial(_cover_components, patches))


def _cover(patches: Patches, module: Any) -> None:
    patches.wrap(module.Func, "__call__", _calling)
    patches.wrap(module.Func, "__init__", around(_made_by_host))
    patches.wrap(module.Store, "set_fuel", around(_refueling))
    _cover_source(patches, module.Module)
    patches.wrap(module.Instance, "__init__", partial(_after, _from_second_argument))
    patches.wrap(module.Instance, "exports", partial(_after, _name_exports))
    patches.wrap(module.Linker, "instantiate", partial(_after, _from_second_argument))
    patches.wrap(module.Linker, "get", partial(_after, _name_linked))
    patches.wrap(module.Linker, "get_default", partial(_after, _name_default))
    if (instance_pre := getattr(module, "InstancePre", None)) is not None:
        patches.wrap(module.Linker, "instantiate_pre", partial(_after, _from_first_argument))
        patches.wrap(instance_pre, "instantiate", partial(_after, _from_maker))


def _cover_components(patches: Patches, module: Any) -> None:
    patches.wrap(module.Func, "__call__", _calling)
    _cover_source(patches, module.Component)
    patches.wrap(module.Linker, "instantiate", partial(_after, _from_second_argument))
    patches.wrap(module.Instance, "get_export_index", partial(_after, _name_index))
    patches.wrap(module.Instance, "get_func", partial(_after, _name_function))


def _cover_source(patches: Patches, source: type) -> None:
    """Modules and components: what they are called where they come from."""
    patches.wrap(source, "__init__", partial(_after, _from_source))
    for name in ("from_file", "deserialize_file"):
        if name in vars(source):
            patches.wrap(source, name, partial(_loading, vars(source)[name].__func__))


def _loading(function: Callable[..., Any], _: object) -> Any:
    return classmethod(_after(_from_file, function))


# --- Calls --------------------------------------------------------------------------------------------------


class _Call(PluginCall):
    """A call of an exported function in `store`."""

    __slots__ = ("_burning", "_store")

    def __init__(self, plugin: str, hook: str, store: Any) -> None:
        super().__init__(plugin, hook)
        self._store = store
        self._burning: Burning | None = None

    def begin(self) -> None:
        """Start; from now on fuel is burned."""
        super().begin()
        try:
            self._burning = None if self.operation is None else burn(self._store)
        except Exception as error:  # the guard's only purpose
            report("the fuel of a plugin", error)

    def end(self, error: BaseException | None = None) -> None:
        """The call returned, or raised `error`."""
        if self._burning is not None:
            try:
                burned(self._store, self._burning)
                self.fuel = self._burning.burned
            except Exception as failed:  # as above; the host may have closed the store meanwhile
                report("the fuel of a plugin", failed)
        super().end(error)

    def failure(self, error: BaseException) -> str | None:
        """The trap's code in lower case; `out_of_fuel` also where the engine gives no code; for others the
        class."""
        try:
            if getattr(error, "code", None) == 0 and type(error).__name__ == "ExitTrap":
                return None
            code = getattr(error, "trap_code", None)
        except Exception:  # a code that this version of the library has no name for
            code = None
        if code is not None:
            return str(code.name).lower()
        if self._burning is not None and self._burning.left == 0:
            return "out_of_fuel"
        return super().failure(error)


def _calling(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, store: Any, *params: Any) -> Any:  # noqa: N807  # it becomes that method
        name = getattr(self, _HOOK, _UNNAMED)
        if name is None:
            return original(self, store, *params)
        plugin, hook = name
        with _Call(plugin, hook, store):
            return original(self, store, *params)

    return __call__


def _made_by_host(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> None:
    """A function of the host's own is no plugin's."""
    original(self, *args, **kwargs)
    setattr(self, _HOOK, None)


def _refueling(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Fuel that a plugin is given in the middle of its call, from a function of the host, is not fuel that it
    has not burned."""
    call = None
    try:
        call = refueling(self)
    except Exception as error:  # the guard's only purpose
        report("the fuel of a plugin", error)
    result = original(self, *args, **kwargs)
    if call is not None:
        call.left = self.get_fuel()
    return result


# --- Names --------------------------------------------------------------------------------------------------


class _Given:
    """The arguments of a call."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._args = args
        self._kwargs = kwargs

    def at(self, position: int, *names: str) -> Any:
        """The argument at this position, or by one of these names."""
        if len(self._args) > position:
            return self._args[position]
        return next((self._kwargs[name] for name in names if name in self._kwargs), None)


Namer = Callable[[Any, Any, _Given], None]
"""Is told of what a method made (its object, if it returned nothing), of its object, and of its arguments."""


def _after(namer: Namer, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        try:
            namer(self if result is None else result, self, _Given(args, kwargs))
        except Exception as error:  # the guard's only purpose
            report("the name of a plugin", error)
        return result

    return method


def _name_of(thing: object) -> str:
    name: str = plugin_name(thing) or getattr(thing, _PLUGIN, "")
    return name


def _from_source(module: Any, _: Any, given: _Given) -> None:
    setattr(module, _PLUGIN, text_name(given.at(1, "wasm")))


def _from_file(module: Any, _: Any, given: _Given) -> None:
    if not _name_of(module):
        setattr(module, _PLUGIN, Path(os.fsdecode(given.at(1, "path"))).stem)


def _from_first_argument(made: Any, _: Any, given: _Given) -> None:
    setattr(made, _PLUGIN, _name_of(given.at(0, "module")))


def _from_second_argument(made: Any, _: Any, given: _Given) -> None:
    setattr(made, _PLUGIN, _name_of(given.at(1, "module", "component")))


def _from_maker(made: Any, maker: Any, _: _Given) -> None:
    setattr(made, _PLUGIN, _name_of(maker))


def _name_exports(exports: Any, instance: Any, _: _Given) -> None:
    plugin = _name_of(instance)
    if getattr(exports, _PLUGIN, None) == plugin:
        return
    for name, item in exports.items():
        _name(item, plugin, name)
    setattr(exports, _PLUGIN, plugin)


def _name_linked(item: Any, _: Any, given: _Given) -> None:
    _name(item, given.at(1, "module"), given.at(2, "name"))


def _name_default(item: Any, _: Any, given: _Given) -> None:
    _name(item, given.at(1, "name"), "default")


def _name_index(index: Any, instance: Any, given: _Given) -> None:
    if index is not instance:  # there is such an export
        setattr(index, _HOOK, given.at(1, "name"))


def _name_function(function: Any, instance: Any, given: _Given) -> None:
    if function is not instance:  # as above
        index = given.at(1, "index")
        _name(function, _name_of(instance), index if isinstance(index, str) else getattr(index, _HOOK, ""))


def _name(item: Any, plugin: str, hook: str) -> None:
    """A function is a hook; memories, tables and globals are not called."""
    if callable(item):
        setattr(item, _HOOK, (plugin, hook))
