"""A task that logs, and the web application that publishes it."""

from __future__ import annotations

import logging

from celery.utils.log import get_task_logger
from celery_app import app as celery
from flask import Flask

app = Flask(__name__)


@celery.task(name="pack")
def pack(what: str) -> None:
    get_task_logger("shop.pack").warning("packed %s", what)
    logging.getLogger("shop.other").warning("other %s", what)


@app.get("/order/<what>")
def order(what: str) -> str:
    pack.delay(what)
    return "ordered"
