"""A Django project with Channels: `application` has a websocket beside Django's own views."""

from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path
from django_app import asgi


class Echo(AsyncWebsocketConsumer):
    """Says what it hears."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data)


websockets: list[Any] = [path("ws/<str:room>/", Echo.as_asgi())]
application = ProtocolTypeRouter({"http": asgi, "websocket": URLRouter(websockets)})
