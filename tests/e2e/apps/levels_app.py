"""Says something at debug in requests of two apps, and by itself without any."""

import logging
import os
import threading
import time

from flask import Flask, jsonify

log = logging.getLogger("shop.orders")
app = Flask(__name__)


@app.get("/api/<word>")
@app.get("/other/<word>")
def said(word: str) -> object:
    log.debug("%s of a request", word)
    return jsonify(pid=os.getpid())


def background() -> None:
    while True:
        logging.getLogger("shop.background").debug("by itself in %d", os.getpid())
        time.sleep(0.05)


threading.Thread(target=background, daemon=True).start()
