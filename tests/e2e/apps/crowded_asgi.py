"""The series of `crowded_wsgi` in a Starlette application."""

from crowded_wsgi import asked
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def item(request: Request) -> JSONResponse:
    return JSONResponse({"item": request.path_params["item"]})


assert asked is not None
app = Starlette(routes=[Route("/items/{item}", item)])
