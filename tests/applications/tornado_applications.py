"""Applications of Tornado."""

from __future__ import annotations

from tests.applications.application import Application
from tests.applications.normalising import DATES, TIMES, UUIDS, Rule
from tests.applications.seeded import ask, get
from tests.applications.wire import Conversation

_ACCEPT_KEY = Rule("keys of websockets", r"(?i)(sec-websocket-accept: )\S+", r"\1KEY")
_TAG = Rule("tags that hash times", r'(?i)etag: (W/)?"[0-9a-f]{40}"', "Etag: TAG")
_XSRF = Rule("tokens against forgery", r"_xsrf=[^;\s]+", "_xsrf=TOKEN")

JUPYTER = Application(
    name="jupyter",
    command="jupyter-server --ip=127.0.0.1 --port={port} --no-browser --allow-root --IdentityProvider.token= --ServerApp.root_dir={folder}/notes"
    " --ServerApp.disable_check_xsrf=True --ServerApp.cookie_secret=fixed",
    files={
        "notes/a.txt": "some text\n" * 200,
        "notes/b.ipynb": '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    },
    script=[
        ask("PUT", "/api/contents/new.txt", b'{"type": "file", "format": "text", "content": "tea"}'),
        ask("POST", "/api/contents", b'{"type": "directory"}'),
        ask("PATCH", "/api/contents/new.txt", b'{"path": "old.txt"}'),
        ask("DELETE", "/api/contents/old.txt"),
        ask("POST", "/api/contents", b"no json"),
    ],
    reads=[
        get("/api"),
        get("/api/contents"),
        get("/api/contents/a.txt"),
        get("/api/contents/b.ipynb?content=0"),
        get("/api/contents/none"),
        get("/api/kernelspecs"),
        get("/api/sessions"),
        get("/files/a.txt"),
        get("/static/favicon.ico"),
        get("/api/spec.yaml"),
        get("/api/config/common"),
    ],
    # A POST to a directory makes a file.
    without=frozenset({"upload", "chunks"}),
    conversations=[Conversation("/api/events/subscribe"), Conversation("/api/kernels/none/channels")],
    routes=frozenset(
        {
            "/",
            "/.*/",
            "/api",
            "/api/config/{section_name}",
            "/api/contents(?P<path>(?:(?:/[^/]+)+|/?))",
            "/api/events/subscribe",
            "/api/kernelspecs",
            "/api/sessions",
            "/api/spec.yaml",
            "/files/{arg1}",
            "/static/{arg1}",
            "{arg1}",
        }
    ),
    rules=(
        DATES,
        TIMES,
        UUIDS,
        _ACCEPT_KEY,
        _XSRF,
        _TAG,
        Rule("cookies of anonymous users", r"username-localhost-PORT=[^;]+", "COOKIE"),
    ),
)

FLOWER = Application(
    name="flower",
    command="celery -A tasks flower --address=127.0.0.1 --port={port}",
    helpers=("celery -A tasks worker --concurrency 1 --hostname worker@test",),
    variables={"FLOWER_UNAUTHENTICATED_API": "true"},
    files={
        "tasks.py": """from pathlib import Path

from celery import Celery

here = Path.cwd()
for name in ("queue", "control", "results"):
    (here / name).mkdir(exist_ok=True)
app = Celery("tasks", broker="filesystem://", backend=f"file://{here}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{here}/queue", "data_folder_out": f"{here}/queue", "control_folder": f"{here}/control"
}


@app.task
def add(x, y):
    return x + y


@app.task
def fail():
    raise RuntimeError("failing task")
"""
    },
    script=[ask("POST", "/api/task/async-apply/tasks.add", b'{"args": [1, 2]}') for _ in range(10)]
    + [
        ask("POST", "/api/task/async-apply/tasks.fail", b"{}"),
        ask("POST", "/api/task/async-apply/none", b"{}"),
    ],
    reads=[
        get("/broker"),
        get("/tasks"),
        get("/healthcheck"),
        get("/static/css/flower.css"),
        get("/static/js/none.js"),
        get("/api/task/types"),
        get("/task/none"),
        get("/logout"),
    ],
    without=frozenset({"upload", "chunks"}),
    # The worker is asked before it is ready, or after.
    noise=r"No hostname was supplied|Inspect method \w+ failed",
    work={"send": 11, "bext.flow.step": 11},
    routes=frozenset(
        {
            ".*",
            "/api/task/async-apply/{arg1}",
            "/api/task/types",
            "/broker",
            "/healthcheck",
            "/logout",
            "/static/{arg1}",
            "/task/{arg1}",
            "/tasks",
        }
    ),
    rules=(DATES, TIMES, UUIDS, _XSRF),
)
