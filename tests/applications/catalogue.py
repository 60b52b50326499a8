"""Every application that is tried."""

from __future__ import annotations

from tests.applications.asgi_applications import DATASETTE, MCP, NICEGUI
from tests.applications.django_applications import WAGTAIL
from tests.applications.flask_applications import HTTPBIN, MOTO
from tests.applications.framework_applications import (
    AIOHTTP,
    DASH,
    FALCON,
    FALCON_ASGI,
    GRADIO,
    LITESTAR,
    PYRAMID,
    TORNADO,
)
from tests.applications.tornado_applications import FLOWER, JUPYTER
from tests.applications.wsgi_applications import PYPISERVER, RADICALE

APPLICATIONS = {
    application.name: application
    for application in (
        HTTPBIN,
        MOTO,
        DATASETTE,
        MCP,
        NICEGUI,
        WAGTAIL,
        RADICALE,
        PYPISERVER,
        JUPYTER,
        FLOWER,
        LITESTAR,
        FALCON,
        FALCON_ASGI,
        PYRAMID,
        AIOHTTP,
        TORNADO,
        DASH,
        GRADIO,
    )
}
