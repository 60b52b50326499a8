"""A Flask application that works in other threads and processes."""

from elsewhere import do
from flask import Flask, request

app = Flask(__name__)


@app.get("/<site>/<way>")
def work(site: str, way: str) -> dict[str, str]:
    do(way, request.url)
    return {}
