"""A WASM plugin, metered: each call has a budget of fuel, which bounds how long it can hold the event
loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from wasmtime import Config, Engine, Func, Instance, Memory, Module, Store, Trap, TrapCode

__all__ = ["Hook", "OutOfFuelError", "Plugin", "PluginError", "PluginMiddleware"]

log = logging.getLogger(__name__)

Hook = Literal["on_request", "on_response"]

_SOURCE = Path(__file__).with_name("fingerprint.wat")
# The module declares two pages of 64 KiB; no call may write more.
_MAX_INPUT_BYTES = 2 * 64 * 1024


class PluginError(Exception):
    """A call of a plugin failed."""


class OutOfFuelError(PluginError):
    """A call wanted more fuel than it may burn."""


class Plugin:
    """The fingerprint plugin in a store of its own; for one thread, between `start` and `close`.

    `fuel` is the budget of one call of each hook, in wasmtime's units: about one for each instruction, so 15
    for each byte of input.
    """

    name = "fingerprint"

    def __init__(self, *, fuel: Mapping[Hook, int]) -> None:
        self._fuel = fuel

    def start(self) -> None:
        """Compile the module."""
        config = Config()
        config.consume_fuel = True
        engine = Engine(config)
        self._store = Store(engine)
        self._exports = Instance(
            self._store, Module(engine, _SOURCE.read_text(encoding="utf-8")), []
        ).exports(self._store)

    def close(self) -> None:
        """Free the module's memory."""
        self._store.close()

    def call(self, hook: Hook, data: bytes) -> int:
        """The hook's answer for `data`, 0 to 2**32 - 1; OutOfFuelError or another PluginError if it has
        none."""
        if len(data) > _MAX_INPUT_BYTES:
            raise PluginError(f"{self.name}.{hook}: {len(data)} bytes are more than its memory holds")
        budget = self._fuel[hook]
        self._store.set_fuel(budget)
        try:
            return self._run(hook, data)
        except Trap as trap:
            if trap.trap_code is TrapCode.OUT_OF_FUEL:
                raise OutOfFuelError(f"{self.name}.{hook}: {budget} units of fuel were not enough") from None
            raise PluginError(f"{self.name}.{hook}: {trap.trap_code}") from None

    def _run(self, hook: Hook, data: bytes) -> int:
        memory, function = self._exports["memory"], self._exports[hook]
        assert isinstance(memory, Memory)
        assert isinstance(function, Func)
        memory.write(self._store, data, 0)
        return int(function(self._store, len(data))) & 0xFFFFFFFF


class PluginMiddleware:
    """Asks the plugin which variant of the site each request sees. A plugin that fails costs the header
    `x-variant`, not the answer."""

    def __init__(self, app: ASGIApp, plugin: Plugin) -> None:
        self._app = app
        self._plugin = plugin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        target = scope["path"].encode() + b"?" + scope["query_string"]
        try:
            variant = "ab"[self._plugin.call("on_request", target)]
        except PluginError as error:
            log.error("plugin failed: %s", error)
            await self._app(scope, receive, send)
            return

        async def with_variant(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-variant"] = variant
            await send(message)

        await self._app(scope, receive, with_variant)
