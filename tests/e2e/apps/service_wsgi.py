"""A plain Flask application, one of a service's workers."""

import os

from flask import Flask
from measured import nested, work

app = Flask(__name__)


@app.get("/items/<item>")
def item(item: str) -> object:
    return {"pid": os.getpid()}


@app.get("/fail")
def fail() -> object:
    return {"pid": os.getpid()}, 500


app.get("/work")(work)
app.get("/nested")(nested)
