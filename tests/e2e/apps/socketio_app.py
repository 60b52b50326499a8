"""A Flask application behind Flask-SocketIO, whose middleware hands on a copy of the environ."""

import sys
from typing import Any

from flask import Blueprint, Flask
from flask_socketio import SocketIO

app = Flask(__name__)
shop = Blueprint("shop", __name__)


class Prefixed:
    """A middleware that hands on a copy with another path and another body, as reverse proxies' do."""

    def __init__(self, wsgi_app: Any) -> None:
        self.wsgi_app = wsgi_app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path.startswith("/shop/"):
            environ = {**environ, "SCRIPT_NAME": "/shop", "PATH_INFO": path.removeprefix("/shop")}
        return self.wsgi_app(environ, start_response)


@app.get("/items/<int:item>")
def item(item: int) -> str:
    return str(item)


@shop.get("/orders/<int:order>")
def order(order: int) -> str:
    return str(order)


app.register_blueprint(shop)
app.wsgi_app = Prefixed(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented way
socketio = SocketIO(app, async_mode="threading")

if __name__ == "__main__":
    socketio.run(app, port=int(sys.argv[1]), allow_unsafe_werkzeug=True)
