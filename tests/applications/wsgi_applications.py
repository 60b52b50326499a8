"""Applications that bring a server of their own, and speak WSGI to it."""

from __future__ import annotations

from tests.applications.application import Application
from tests.applications.normalising import DATES, TIMES, Rule
from tests.applications.seeded import ask, get

_EVENT = b"""BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//tests//EN\r
BEGIN:VEVENT\r
UID:tea\r
DTSTAMP:20260101T000000Z\r
DTSTART:20260102T150000Z\r
DTEND:20260102T160000Z\r
SUMMARY:Tea\r
END:VEVENT\r
END:VCALENDAR\r
"""
_USER = {"Authorization": "Basic dGVzdDp0ZXN0"}
_ALL_PROPERTIES = b'<?xml version="1.0"?><propfind xmlns="DAV:"><allprop/></propfind>'
_QUERY = b"""<?xml version="1.0"?><C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns="DAV:"><prop><getetag/>
<C:calendar-data/></prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>"""

RADICALE = Application(
    name="radicale",
    command="python -m radicale --storage-filesystem-folder={folder}/storage --auth-type=none --hosts=127.0.0.1:{port}",
    script=[
        ask("MKCALENDAR", "/test/calendar/", **_USER),
        ask("PUT", "/test/calendar/tea.ics", _EVENT, Content_Type="text/calendar", **_USER),
        ask("PUT", "/test/calendar/broken.ics", b"no calendar", Content_Type="text/calendar", **_USER),
        ask("MKCOL", "/test/contacts/", **_USER),
        ask(
            "PUT",
            "/test/calendar/coffee.ics",
            _EVENT.replace(b"tea", b"coffee").replace(b"Tea", b"Coffee"),
            **_USER,
        ),
        ask(
            "MOVE",
            "/test/calendar/coffee.ics",
            Destination="http://localhost/test/calendar/cocoa.ics",
            **_USER,
        ),
        ask("DELETE", "/test/contacts/", **_USER),
    ],
    reads=[
        get("/"),
        get("/.web/"),
        get("/.well-known/caldav"),
        get("/test/calendar/", **_USER),
        get("/test/calendar/tea.ics", **_USER),
        get("/test/calendar/none.ics", **_USER),
        ask("PROPFIND", "/test/", _ALL_PROPERTIES, Depth="1", **_USER),
        ask("PROPFIND", "/test/calendar/", _ALL_PROPERTIES, Depth="1", **_USER),
        ask("REPORT", "/test/calendar/", _QUERY, Depth="1", **_USER),
        ask("PROPFIND", "/test/", b"<broken", **_USER),
    ],
    # Its server reads no chunks.
    without=frozenset({"chunks"}),
    rules=(
        DATES,
        Rule("the launcher's variable", r" with PYTHONPATH='[^']*'", ""),
        Rule("a setting that is named as a secret is", r"(?<=_create_token: ).*", "REDACTED"),
        Rule("tags of states", r"http://radicale.org/ns/sync/[0-9a-f]+", "SYNC"),
        Rule("seconds that work took", r"\b\d+\.\d{3,} seconds", "SECONDS"),
        TIMES,
    ),
)

PYPISERVER = Application(
    name="pypiserver",
    command="pypi-server run --interface 127.0.0.1 --port {port} --authenticate . --passwords . -v {folder}/packages",
    files={
        "packages/shop-1.0.tar.gz": "not really a package\n" * 200,
        "packages/shop-1.1.tar.gz": "nor is this\n" * 300,
        "packages/tea_pot-0.1-py3-none-any.whl": "a wheel it is not\n" * 400,
    },
    script=[
        ask(
            "POST",
            "/",
            b'--x\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--x\r\n'
            b'Content-Disposition: form-data; name="content"; filename="cup-2.0.tar.gz"\r\n\r\n'
            + b"cup" * 9000
            + b"\r\n--x--\r\n",
            Content_Type="multipart/form-data; boundary=x",
        ),
        ask("POST", "/", b"x=1", Content_Type="application/x-www-form-urlencoded"),
    ],
    reads=[
        get("/"),
        get("/simple"),
        get("/simple/"),
        get("/simple/shop/"),
        get("/simple/Tea_Pot/"),
        get("/packages/"),
        get("/packages/shop-1.1.tar.gz"),
        get("/packages/none-1.tar.gz"),
        get("/shop"),
        get("/health"),
        ask("POST", "/RPC2", b"<methodCall><methodName>search</methodName><params/></methodCall>"),
    ],
    # An upload to a page is an upload of a package.
    without=frozenset({"upload", "chunks"}),
    noise=r"Task queue depth is",
    rules=(DATES, TIMES),
)
