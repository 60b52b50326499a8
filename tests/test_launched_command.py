"""Which commands serve, by their words."""

from __future__ import annotations

import pytest

from bext_otel.launched_command import serves

SERVE = (
    "python /venv/bin/uvicorn app:app",
    "python -m uvicorn app:app",
    "python -X dev -W error -m uvicorn app:app",
    "python -Im gunicorn app:app",
    "python -mhypercorn app:app",
    "python /venv/bin/gunicorn -w 3 app:app",
    "python /venv/bin/granian app:app",
    "python /venv/bin/daphne app:app",
    "python /venv/bin/waitress-serve app:app",
    "python -m waitress app:app",
    "python /venv/lib/uvicorn/__main__.py app:app",
    "python C:\\venv\\Scripts\\uvicorn.exe app:app",
    "python /venv/bin/sanic app:app --workers 2",
    "python /venv/bin/twist web --wsgi app.app",
    "python /venv/bin/cherryd -i app",
    "python /venv/bin/flask run",
    "python /venv/bin/flask --app shop:run run --debug",
    "python /venv/bin/flask -A shop run",
    "python manage.py runserver 8000",
    "python ./manage.py --settings shop.settings runserver",
    "python -m django runserver",
    "python -u manage.py runserver_plus",
    "python /venv/bin/celery -A shop worker -l INFO",
    "python -m celery worker",
    "python /venv/bin/fastapi dev main.py",
    "python /venv/bin/bext-otel demo --once",
    "python -m http.server",
    "/venv/bin/uwsgi --http-socket :80",
)
DO_NOT = (
    "python",
    "python -",
    "python script.py",
    "python script.py uvicorn",
    "python script.py -m uvicorn",
    "python -c import uvicorn",
    "python -c pass -m uvicorn",
    "python -m",
    "python -m pytest -m uvicorn",
    "python manage.py migrate",
    "python manage.py",
    "python manage.py dumpdata runserver",
    "python /venv/bin/flask routes",
    "python /venv/bin/flask --app run routes",
    "python /venv/bin/celery -A worker inspect ping",
    "python /venv/bin/bext-otel doctor",
    "",
)


@pytest.mark.parametrize("command", SERVE)
def test_these_serve(command: str) -> None:
    assert serves(command.split())


@pytest.mark.parametrize("command", DO_NOT)
def test_these_do_not(command: str) -> None:
    assert not serves(command.split())
