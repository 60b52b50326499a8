"""Celery's worker in a process of its own: `celery --workdir examples -A bext_demo.worker worker --pool
threads`.

It shares the platform's settings, DEMO_BROKER and DEMO_DATA_DIR among them.
"""

from __future__ import annotations

from bext_demo.database import Database
from bext_demo.fulfilment import Fulfilment
from bext_demo.settings import Settings

__all__ = ["app"]

_settings = Settings.from_environment()
if _settings.broker_url is None or _settings.data_dir is None:
    raise ValueError("a worker needs DEMO_BROKER and DEMO_DATA_DIR, the same ones as the platform")
_database = Database(_settings.data_dir)
_database.start()

app = Fulfilment(_database, _settings.broker_url, _settings.queue).celery
