"""A durable workflow on SQLite: each step appends to a file, the second one never ends while there is a file
named `hang`."""

from __future__ import annotations

import pathlib
import sys
import threading

from dbos import DBOS, SetWorkflowID
from opentelemetry import trace

config = {
    "name": "shop",
    "system_database_url": "sqlite:///dbos.sqlite",
    "application_version": "1",
    "run_admin_server": False,
}
if "--otlp" in sys.argv:
    config["enable_otlp"] = True
DBOS(config=config)  # type: ignore[arg-type]


def note(text: str) -> None:
    with pathlib.Path("done").open("a") as file:
        file.write(f"{text}\n")


@DBOS.step()
def reserve() -> str:
    note("reserve")
    return "reserved"


@DBOS.step()
def charge() -> str:
    if pathlib.Path("hang").exists():
        print("in the middle", flush=True)
        threading.Event().wait()
    note("charge")
    return "charged"


@DBOS.step()
def ship() -> str:
    note("ship")
    return "shipped"


@DBOS.workflow()
def checkout() -> str:
    return " ".join((reserve(), charge(), ship()))


if __name__ == "__main__":
    DBOS.launch()
    if "begin" in sys.argv:
        with trace.get_tracer("app").start_as_current_span("request"), SetWorkflowID("order-1"):
            handle = DBOS.start_workflow(checkout)
    else:
        handle = DBOS.retrieve_workflow("order-1")
    print(handle.get_result(), flush=True)
    DBOS.destroy()
