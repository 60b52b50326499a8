"""pluggy: each call of a plugin's implementation of a hook, wrappers and historic calls too."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches, around
from bext_otel_instrumentors.plugins.calls import PluginCall

__all__ = ["PluggyInstrumentor"]

Multicall = Callable[[str, Sequence[Any], Mapping[str, object], bool], Any]


_NOT_WORK = frozenset({"pytest"})


class PluggyInstrumentor(Instrumentor):
    """Instruments plugin managers: those made from now on, and older ones when a plugin is registered with
    them.

    `instrument(projects=("datasette",))`: only managers of these projects; without it, all but pytest's,
    whose hooks are the tests of an application and none of its work.
    """

    _managers: weakref.WeakSet[Any]
    _projects: frozenset[str] | None = None

    # The versions that execute a hook call with these four arguments
    requires = ("pluggy >= 1.0, < 2",)

    def _instrument(self, **kwargs: Any) -> None:
        projects: Iterable[str] | None = kwargs.get("projects")
        self._projects = None if projects is None else frozenset(projects)
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches) -> None:
        self._managers = weakref.WeakSet()
        patches.when_imported("pluggy._manager", partial(self._cover, patches))

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        for manager in list(self._managers):
            executor = manager._inner_hookexec
            if isinstance(executor, _Executor):
                manager._inner_hookexec = executor.original
            else:  # somebody monitors the calls through ours, which cannot be taken out from under them
                self._managers.discard(manager)
        for executor in list(_executors):
            executor.active = False

    def _cover(self, patches: Patches, module: Any) -> None:
        patches.wrap(module.PluginManager, "__init__", self._making)
        patches.wrap(module.PluginManager, "register", self._registering)
        patches.wrap(module.PluginManager, "unregister", around(_unregistering))

    def _making(self, original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def __init__(manager: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes that method
            original(manager, *args, **kwargs)
            self._measure(manager)

        return __init__

    def _registering(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def register(manager: Any, *args: Any, **kwargs: Any) -> Any:
            self._measure(manager)
            return original(manager, *args, **kwargs)

        return register

    def _measure(self, manager: Any) -> None:
        """Stand between the manager and what executes its calls: inside of anybody's monitoring, who goes on
        to see the real hooks."""
        try:
            name = manager.project_name
            if manager in self._managers or (
                name in _NOT_WORK if self._projects is None else name not in self._projects
            ):
                return
            manager._inner_hookexec = _Executor(manager._inner_hookexec)
            self._managers.add(manager)
        except Exception as error:  # a manager that we do not know works as it did
            report("a plugin manager", error)


def _unregistering(original: Original, manager: Any, /, *args: Any, **kwargs: Any) -> Any:
    try:
        return original(manager, *args, **kwargs)
    finally:
        executor = getattr(manager, "_inner_hookexec", None)
        for known in [executor] if isinstance(executor, _Executor) else list(_executors):
            known.forget()


_executors: weakref.WeakSet[_Executor] = weakref.WeakSet()


class _Executor:
    """Executes a hook call through `original`, with implementations that are measured."""

    __slots__ = ("__weakref__", "_copies", "active", "original")

    def __init__(self, original: Multicall) -> None:
        self.original = original
        self.active = True
        # Keyed by identity, and holding what it is keyed by.
        self._copies: dict[int, tuple[Any, Any]] = {}
        _executors.add(self)

    def __call__(
        self, hook_name: str, methods: Sequence[Any], kwargs: Mapping[str, object], firstresult: bool
    ) -> Any:
        __tracebackhide__ = True
        return self.original(
            hook_name, self._measured(hook_name, methods) if self.active else methods, kwargs, firstresult
        )

    def forget(self) -> None:
        """Hold on to no plugin that may be gone."""
        self._copies.clear()

    def _measured(self, hook_name: str, methods: Sequence[Any]) -> Sequence[Any]:
        copies = self._copies
        try:
            found = []
            for method in methods:
                known = copies.get(id(method))
                if known is None or known[0] is not method:
                    known = self._copy(hook_name, method)
                found.append(known[1])
        except Exception as error:  # an implementation that we do not know is called as it is
            report("a plugin's hook", error)
            return methods
        return found

    def _copy(self, hook_name: str, method: Any) -> tuple[Any, Any]:
        measured = copy.copy(method)
        wrapper = method.hookwrapper or getattr(method, "wrapper", False)
        measured.function = partial(
            _wrapping if wrapper else _calling, method.function, _name_of(method), hook_name
        )
        pair = (method, measured)
        if method.plugin is not None:
            # What `call_extra` is given is no plugin's, and made anew for each call.
            self._copies[id(method)] = pair
        return pair


def _name_of(method: Any) -> str:
    """The plugin's name; its class where pluggy knows an object by its address only, which would be another
    one in each process."""
    name = str(method.plugin_name)
    return type(method.plugin).__qualname__ if name == str(id(method.plugin)) else name


def _calling(function: Callable[..., Any], plugin: str, hook: str, /, *args: Any, **kwargs: Any) -> Any:
    __tracebackhide__ = True
    with PluginCall(plugin, hook):
        return function(*args, **kwargs)


def _wrapping(function: Callable[..., Any], plugin: str, hook: str, /, *args: Any, **kwargs: Any) -> Any:
    __tracebackhide__ = True
    generator = function(*args, **kwargs)
    return _Wrapper(generator, PluginCall(plugin, hook)) if hasattr(generator, "send") else generator


class _Wrapper:
    """A wrapper's generator, measured while it runs: before the call that it surrounds, and after."""

    __slots__ = ("_call", "_generator")

    def __init__(self, generator: Any, call: PluginCall) -> None:
        self._generator = generator
        self._call = call

    def __iter__(self) -> _Wrapper:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def __next__(self) -> Any:
        __tracebackhide__ = True
        self._call.__enter__()
        return self._step(None, self._generator.__next__)

    def send(self, value: Any) -> Any:
        """Go on with the result of the call."""
        __tracebackhide__ = True
        self._call.resume()
        return self._last(self._step(_error_in(value), self._generator.send, value))

    def throw(self, *error: Any) -> Any:
        """Go on with what the call raised."""
        __tracebackhide__ = True
        self._call.resume()
        return self._last(self._step(error[0], self._generator.throw, *error))

    def close(self) -> None:
        """No more of it is wanted."""
        self._generator.close()
        self._call.end()

    def _step(self, given: object, proceed: Callable[..., Any], *args: Any) -> Any:
        """Run to the next `yield`, which is a pause, or to the end."""
        __tracebackhide__ = True
        try:
            value = proceed(*args)
        except StopIteration:
            self._call.end()
            raise
        except BaseException as error:
            # What a wrapper was given and lets pass is somebody else's failure; Python turns a StopIteration
            # that passes into another.
            passed = error is given or (isinstance(given, StopIteration) and error.__cause__ is given)
            self._call.end(None if passed else error)
            raise
        self._call.pause()
        return value

    def _last(self, value: object) -> object:
        """A second `yield` is the plugin's mistake, and pluggy raises."""
        self._call.end(RuntimeError("has second yield"))
        return value


def _error_in(value: object) -> object:
    """What the call raised, as a wrapper of the old style is told of it."""
    try:
        exception = getattr(value, "_exception", None)
        if exception is None and (excinfo := getattr(value, "_excinfo", None)):
            exception = excinfo[1]
    except Exception:  # the result of a call is the application's, and may answer anything
        return None
    return exception
