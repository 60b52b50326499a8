"""Django's databases are asked from their first connection on, by connections of the asking thread's own."""

from __future__ import annotations

from pathlib import Path

from tests.fresh import fresh

PROGRAM = """
import django, gc, sqlite3, threading
from django.conf import settings
from bext_otel_instrumentors.reached.django import DjangoReached
DjangoReached().instrument()
engine = "django.db.backends.sqlite3"
settings.configure(
    DATABASES={{
        "default": {{"ENGINE": engine, "NAME": {name!r}}},
        "memory": {{"ENGINE": engine, "NAME": ":memory:"}},
        "unused": {{"ENGINE": engine, "NAME": "/nowhere/at/all"}},
    }}
)
django.setup()
from django.db import connections, transaction
from bext_otel.health.reaching import reaching

def asked():
    found = []
    def ask():
        check = reaching("database")()
        found.append([check.status, check.details.get("reason"), list(check.details.get("ping_ms", ()))])
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return found[0]

before = asked()
with transaction.atomic():
    connections["default"].cursor().execute("CREATE TABLE kept (value integer)")
    within = asked()
    connections["default"].cursor().execute("INSERT INTO kept VALUES (1)")
connections["memory"].cursor().execute("SELECT 1")
count = connections["default"].cursor().execute("SELECT count(*) FROM kept").fetchone()[0]
connections.settings["default"]["NAME"] = "/nowhere/at/all"
show([before, within, count, asked()])
"""


def test_a_database_is_asked_beside_the_application_s_transaction(tmp_path: Path) -> None:
    shown, _ = fresh(PROGRAM.format(name=str(tmp_path / "shop.sqlite3")), tmp_path)
    before, within, count, away = shown
    assert ["healthy", None, []] == before
    assert ["healthy", None, ["django"]] == within
    assert 1 == count
    assert ["unhealthy", "django: OperationalError"] == away[:2]
