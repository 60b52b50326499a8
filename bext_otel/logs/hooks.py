"""What nobody has caught: exceptions that end a thread, that Python cannot raise, and that reach an event
loop's handler; and warnings."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import Context as PythonContext
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.semconv.attributes import code_attributes

from bext_otel.covering import cover, replace
from bext_otel.crashes import context_of
from bext_otel.logs.chain import Chain
from bext_otel.logs.handed_on import handing_on
from bext_otel.logs.values import shown
from bext_otel.process import Undo, on_import

__all__ = ["watch_hooks"]

_THREADS, _LOOPS, _UNRAISABLE, _WARNINGS = "threading", "asyncio", "sys.unraisablehook", "py.warnings"

# Set while a warning is told, which may warn.
_warning: ContextVar[bool] = ContextVar("bext_otel_logs_warning", default=False)


def watch_hooks(chain: Chain, *, is_ours: Callable[[], bool]) -> Undo:
    """Have each of them be one event, with the ids of its work where they are known; what is returned undoes
    it.

    Whatever hook or handler there was is called as ever, also one that is set later in an event loop. A hook
    of Python's own that the application sets later takes the place of ours, unless it calls the one before. A
    warning that would be printed is our line, while the terminal is ours (`is_ours`).
    """
    hooks = _Hooks(chain, is_ours)
    undoing = ExitStack()
    for undo in (
        _hook(sys, "unraisablehook", hooks.unraisable),
        _hook(threading, "excepthook", hooks.thread),
        cover(warnings, "_showwarnmsg_impl", hooks.warning)
        if hasattr(warnings, "_showwarnmsg_impl")
        else lambda: None,
        on_import("asyncio.base_events", lambda found: undoing.callback(hooks.stand(found.BaseEventLoop))),
        # Its loops are no subclasses of asyncio's.
        on_import("uvloop", lambda found: undoing.callback(hooks.stand(found.Loop))),
    ):
        undoing.callback(undo)
    return undoing.close


def _hook(owner: Any, name: str, tell: Callable[[Any], None]) -> Undo:
    before, active = getattr(owner, name), True

    def hook(args: Any, /) -> Any:
        if active:
            tell(args)
        return before(args)

    put_back = replace(owner, name, hook)

    def undo() -> None:
        nonlocal active
        active = False
        put_back()

    return undo


class _Hooks:
    def __init__(self, chain: Chain, is_ours: Callable[[], bool]) -> None:
        self._chain = chain
        self._is_ours = is_ours
        # By identity, what event loops' handlers are being told of which is told here: since Python 3.12 they
        # run in the context of the task.
        self._telling: set[int] = set()

    def stand(self, loop: Any) -> Undo:
        """Hear what a kind of event loops has to tell."""
        undoing = ExitStack()
        undoing.callback(cover(loop, "call_exception_handler", self._called))
        undoing.callback(cover(loop, "default_exception_handler", self._by_default))
        return undoing.close

    def unraisable(self, args: Any) -> None:
        """As `sys.unraisablehook` has them."""
        said = args.err_msg or "Exception ignored in"
        if args.object is not None:
            said = f"{said}: {shown(args.object)}"
        self._tell(_UNRAISABLE, said, {}, args.exc_value)

    def thread(self, args: Any) -> None:
        """As `threading.excepthook` has them. Who exits ends his thread, and that is all."""
        if args.exc_type is SystemExit:
            return
        name = args.thread.name if args.thread is not None else "?"
        self._tell(_THREADS, f"Exception in thread {name}", {"thread.name": name}, args.exc_value)

    def warning(self, original: Callable[[Any], None], message: Any) -> None:
        """As the module has them, which would be printed."""
        if _warning.get():
            original(message)
            return
        token = _warning.set(True)
        try:
            told = self._warned(message)
        finally:
            _warning.reset(token)
        if not (told and self._is_ours()):
            original(message)

    def _warned(self, message: Any) -> bool:
        fields = {
            "category": message.category.__name__,
            code_attributes.CODE_FILE_PATH: message.filename,
            code_attributes.CODE_LINE_NUMBER: message.lineno,
        }
        return self._emit(
            _WARNINGS, logging.WARNING, str(message.message), fields, printed=not self._is_ours()
        )

    def _called(self, original: Callable[..., None], loop: Any, context: Mapping[str, Any]) -> None:
        here = _context_in(context)
        if loop.get_exception_handler() is None:
            # The loop's own logs it, with what is current.
            with _within(here):
                original(loop, context)
            return
        message = context.get("message") or "Unhandled exception in event loop"
        self._tell(_LOOPS, message, {}, context.get("exception"), context=here)
        self._telling.add(id(context))
        try:
            original(loop, context)
        finally:
            self._telling.discard(id(context))

    def _by_default(self, original: Callable[..., None], loop: Any, context: Mapping[str, Any]) -> None:
        with handing_on() if id(context) in self._telling else nullcontext():
            original(loop, context)

    def _tell(
        self,
        logger: str,
        said: str,
        fields: Mapping[str, object],
        error: BaseException | None,
        *,
        context: Context | None = None,
    ) -> None:
        self._emit(logger, logging.ERROR, said, fields, error, context=context or context_of(error))

    def _emit(
        self,
        logger: str,
        level: int,
        said: str,
        fields: Mapping[str, object],
        error: BaseException | None = None,
        **how: Any,
    ) -> bool:
        try:
            if not self._chain.gate.takes(logger, level, least=logging.NOTSET):
                return False
            self._chain.emit(logger, level, said, fields, error, **how)
        except Exception:  # as the chain has it
            self._chain.failures += 1
            return False
        return True


@contextmanager
def _within(here: Context | None) -> Iterator[None]:
    if here is None:
        yield
        return
    token = attach(here)
    try:
        yield
    finally:
        detach(token)


def _context_in(told: Mapping[str, Any]) -> Context | None:
    """The context of the task, or of the callback, of which an event loop tells; None if nobody knows."""
    try:
        for thing in (told.get("task"), told.get("future"), told.get("handle")):
            if thing is not None and (found := _context_of(thing)) is not None:
                return found.run(get_current)
    except Exception:  # it is entered already: it is the current one; or a thing of another kind
        return None
    return None


def _context_of(thing: Any) -> PythonContext | None:
    found = thing.get_context() if hasattr(thing, "get_context") else getattr(thing, "_context", None)
    if isinstance(found, PythonContext):
        return found
    if hasattr(thing, "set_result") and not hasattr(thing, "get_coro"):
        return None  # a future has those of who waits for it
    # Before Python 3.12, a task says it to nobody else; uvloop's handles never do.
    return next((each for each in gc.get_referents(thing) if isinstance(each, PythonContext)), None)
