"""A Starlette application that measures and logs whatever it is sent."""

import logging
import os

from opentelemetry import metrics, trace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bext_otel.catalogue import CACHE_HITS
from bext_otel.operation import count

log = logging.getLogger("shop")
things = metrics.get_meter("shop").create_counter("shop.things")


async def odd(request: Request) -> Response:
    value = (await request.body()).decode("utf-8", "surrogateescape")
    things.add(1, {"value": value})
    count(CACHE_HITS, app=value, layer=value)
    trace.get_current_span().set_attribute("value", value)
    log.warning(value, extra={"value": value})
    return Response(status_code=204)


def item(request: Request) -> Response:
    return JSONResponse({"pid": os.getpid()})


app = Starlette(routes=[Route("/items/{item}", item), Route("/odd", odd, methods=["POST"])])
