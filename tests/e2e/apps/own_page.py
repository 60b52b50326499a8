"""A Flask application with a `/metrics` of its own, made of `prometheus_client`'s registry."""

from flask import Flask
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest

app = Flask(__name__)
sold = Counter("shop_sold", "Cups sold.", ["kind"])


@app.get("/items/<item>")
def buy(item: str) -> object:
    sold.labels("flat white").inc()
    return {"item": item}


@app.get("/metrics")
def metrics() -> object:
    return generate_latest(), {"Content-Type": CONTENT_TYPE_LATEST}
