"""The page at `/` of the stand-alone server, for a person who opens it in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bext_otel.endpoints.endpoints import Endpoints, Reply
from bext_otel.endpoints.relatives import Other

__all__ = ["index"]

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>bext-otel</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; margin: 3em auto; max-width: 40em; padding: 0 1em }}
dt {{ font-family: monospace }}
</style>
<h1>bext-otel</h1>
<dl>
{rows}
</dl>
<p>This port is open in one process of a service that serves (its server has the application, or its framework
has made one) or has measured something. It shows the whole service.
{others}</html>
"""


_OTHERS = """<h2>Not counted here</h2>
<p>Services that this one has started, that have started it, or that were started beside it.
<dl>
{rows}
</dl>
"""


def index(endpoints: Endpoints, others: Sequence[Other] = ()) -> Reply:
    """What can be asked of these endpoints, as links, and where that of other services can be."""
    rows = [
        f'<dt><a href="{escape(address)}">{escape(address)}</a><dd>{escape(shows)}'
        for address, shows in endpoints.listing
    ]
    page = _PAGE.format(
        rows="\n".join(rows) or "<dt>nothing<dd>metrics and health are both off",
        others=_OTHERS.format(rows="\n".join(map(_row, others))) if others else "",
    )
    # Nothing on this page needs more than its own style, so nothing else may be loaded, whatever a path
    # holds.
    policy = ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
    return Reply(200, "text/html; charset=utf-8", page.encode(), (policy,))


def _row(other: Other) -> str:
    address = escape(f"http://{other.address}/")
    where = (
        f'<a href="{address}">{address}</a>'
        if other.address
        else "has no port: set OTEL_EXPORTER_PROMETHEUS_PORT to a free one for it"
    )
    return f"<dt>{escape(other.command)}<dd>{escape(other.service)}, process {other.pid}: {where}"
