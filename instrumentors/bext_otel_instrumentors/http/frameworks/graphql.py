"""GraphQL: what is asked for names the span of its request, for all requests have one path. For whatever
executes by graphql-core: Strawberry, Ariadne, Graphene."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.text import encodable
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.exchange import current

__all__ = ["GraphQLInstrumentor"]

# Clients name their operations.
_MAX_NAME = 128


class GraphQLInstrumentor(Instrumentor):
    """Instruments graphql-core as soon as it executes.

    The server span is called by the type and the name of its operation, `query Hero`, and has both as
    attributes. One without a name is called by its route, as is a websocket, which is for many. Metrics have
    the route only: clients choose names.
    """

    requires = ("graphql-core >= 3.2",)

    def _patch(self, patches: Patches) -> None:
        # Its name in 3.2, and in 3.3.
        patches.when_imported(
            "graphql.execution.execute", lambda module: self._cover(module, "ExecutionContext")
        )
        patches.when_imported("graphql.execution.executor", lambda module: self._cover(module, "Executor"))

    def _cover(self, module: Any, name: str) -> None:
        kind = vars(module).get(name)
        if kind is not None and "build" in vars(kind):
            self._patches.wrap(kind, "build", _building)


def _building(original: Any) -> Any:
    """What executes an operation is made: it knows which one of a document that is."""
    build: Callable[..., Any] = original.__func__

    @wraps(build)
    def building(cls: Any, *args: Any, **kwargs: Any) -> Any:
        made = build(cls, *args, **kwargs)
        try:
            _tell(made)
        except Exception as error:
            report("an operation of GraphQL", error)
        return made

    return classmethod(building)


def _tell(executor: Any) -> None:
    exchange = current()
    operation = getattr(executor, "operation", None)  # a list of errors has none
    if exchange is None or operation is None or exchange.scheme in {"ws", "wss"} or exchange.name:
        return
    kind = str(operation.operation.value)
    attributes = {"graphql.operation.type": kind}
    if operation.name is not None:
        name = encodable(str(operation.name.value)[:_MAX_NAME])
        attributes["graphql.operation.name"] = name
        exchange.name = f"{kind} {name}"
    if exchange.owned and exchange.span.is_recording():
        exchange.span.set_attributes(attributes)
