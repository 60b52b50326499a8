"""A plain Flask application; as a program, it serves itself."""

import logging
import os
import sys

import requests
from flask import Blueprint, Flask, request

log = logging.getLogger("shop")
app = Flask(__name__)
shop = Blueprint("shop", __name__, url_prefix="/shop")


@app.route("/items/<item>", methods=["GET", "POST"])
@shop.get("/items/<item>")
def item(item: str) -> object:
    log.warning("item read", extra={"item": item})
    return {"pid": os.getpid()}


@app.get("/fail")
def fail() -> object:
    raise RuntimeError("out of coffee")


@app.get("/headers")
def headers() -> object:
    return [(name.lower(), value) for name, value in request.headers]


@app.get("/relay")
def relay() -> object:
    return requests.get(os.environ["DOWNSTREAM"], timeout=20).json()


app.register_blueprint(shop)

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
