"""A Flask application that sets telemetry up in code, and registers the endpoints as a blueprint."""

from flask import Flask

import bext_otel
from bext_otel_instrumentors.http.flask import FlaskInstrumentor

bext_otel.configure(telemetry={"service_name": "shop"}, resource={"shop.floor": "2"})
FlaskInstrumentor().instrument()

app = Flask(__name__)
app.register_blueprint(bext_otel.blueprint(), url_prefix="/ops")


@app.get("/items/<item>")
def item(item: str) -> str:
    return item
