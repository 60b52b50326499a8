"""The pages: nothing that comes over the wire can become a script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import bext_otel.viewer
from bext_otel.viewer import Viewer
from tests.viewer.otlp import SECOND, counter, exponential, gauge, line, lines, metrics, span, spans

STATIC = Path(bext_otel.viewer.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
HOSTILE = "<img src=x onerror=\"document.title='OWNED'\"><script>document.title='OWNED'</script>"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\b|new Function|javascript:"
    assert [] == re.findall(words, script.read_text())


@pytest.mark.parametrize(
    "file", [STATIC / "index.html", STATIC / "viewer.css", *SCRIPTS], ids=lambda file: file.name
)
def test_nothing_is_fetched_from_elsewhere(file: Path) -> None:
    allowed = {"http://www.w3.org/2000/svg"}
    assert set() == set(re.findall(r"https?://[^\s'\"`)]+", file.read_text())) - allowed


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    page = (STATIC / "index.html").read_text()
    assert [] == re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    """A viewer that was sent nothing but hostile text."""
    with Viewer(port=0) as viewer:
        request = {
            "kind": 2,
            "bext.app": HOSTILE,
            "http.route": HOSTILE,
            "http.response.status_code": HOSTILE,
            HOSTILE: HOSTILE,
        }
        root = span(1, name=HOSTILE, start=SECOND, end=2 * SECOND, error=True, **request)
        root.status.message = HOSTILE
        root.events.add(name=HOSTILE, time_unix_nano=SECOND)
        root.links.add(trace_id=b"\1" * 16, span_id=b"\1" * 8)
        viewer.store.add_spans(
            spans(root, span(2, parent=1, name=HOSTILE, start=SECOND, end=SECOND), service=HOSTILE)
        )
        viewer.store.add_logs(lines(line(HOSTILE, trace=1, time=SECOND, app=HOSTILE, **{HOSTILE: HOSTILE})))
        held = counter(HOSTILE, [(2, 1), (3, 5)], **{HOSTILE: HOSTILE})
        held.description = held.unit = HOSTILE
        viewer.store.add_metrics(
            metrics(held, exponential("bext_x_ms", 2, {1: 3}, app=HOSTILE), service=HOSTILE)
        )
        yield viewer


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and os.environ.get("BEXT_REQUIRE_BROWSER") == "1":
        pytest.fail("BEXT_REQUIRE_BROWSER=1, and there is no Chromium")
    return found or pytest.skip("no Chromium on this machine: apt install chromium")


def shown(url: str, profile: Path) -> tuple[str, str]:
    """The page as a browser has it after its scripts ran, and what they wrote to the console."""
    quiet = (
        "--disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync"
    )
    argv = [
        browser(),
        "--headless",
        "--no-sandbox",
        *quiet.split(),
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
    ]
    ran = subprocess.run(
        [*argv, "--virtual-time-budget=3000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    return ran.stdout, "\n".join(row for row in ran.stderr.splitlines() if "CONSOLE" in row)


@pytest.mark.e2e
@pytest.mark.parametrize(
    "page", ["traces", f"traces/{1:032x}?span={1:016x}", "logs", "metrics", "%3Cscript%3E/x?y", "traces/%ff"]
)
def test_hostile_telemetry_is_shown_as_the_text_that_it_is(viewer: Viewer, tmp_path: Path, page: str) -> None:
    dom, console = shown(f"{viewer.url}/#/{page}", tmp_path)
    assert "<title>bext viewer</title>" in dom
    assert "" == console
    assert [] == re.findall(r"<img|<script(?! type=\"module\" src=)", dom)
    if page.startswith(("logs", "metrics", f"traces/{1:032x}")) or page == "traces":
        assert "&lt;img src=x onerror=" in dom


@pytest.fixture(scope="module")
def odd() -> Iterator[Viewer]:
    """A viewer with what no page expects, among what any does."""
    with Viewer(port=0) as viewer:
        strange = span(1, trace=1, name="strange", start=SECOND, end=2 * SECOND, kind=2)
        for name in ("http.route", "bext.app", "http.request.method", "http.response.status_code"):
            inner = strange.attributes.add(key=name).value.kvlist_value.values.add(key="a")
            inner.value.array_value.values.add().int_value = 1
        endless = span(1, trace=2, name="endless", start=0, end=2**64 - 1, kind=2)
        usual = span(1, trace=3, name="GET /usual", start=SECOND, end=2 * SECOND, kind=2)
        viewer.store.add_spans(spans(strange, endless, usual))
        heavy = line("heavy", time=2**64 - 1)
        heavy.body.kvlist_value.values.add(key="k").value.bool_value = True
        viewer.store.add_logs(lines(heavy, line("usual line", time=SECOND)))
        for number in (5e-324, 1.7e308, -1.7e308, float("inf"), float("nan"), 1e-300):
            viewer.store.add_metrics(metrics(gauge(f"odd {number!r}", [(2, number), (3, number)])))
        viewer.store.add_metrics(metrics(gauge("both ends", [(2, 1.7e308), (3, -1.7e308)])))
        viewer.store.add_metrics(metrics(gauge("usual.gauge", [(2, 5), (3, 6)])))
        yield viewer


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("page", "shown_too"),
    [
        ("traces", ["strange", "endless", "GET /usual"]),
        (f"traces/{1:032x}?span={1:016x}", ["strange", '{"a":[1]}']),
        ("logs", ["usual line", '{"k":true}']),
        ("metrics", ["usual.gauge", "odd 5e-324", "<path"]),
    ],
)
def test_one_odd_item_keeps_no_other_from_being_shown(
    odd: Viewer, tmp_path: Path, page: str, shown_too: list[str]
) -> None:
    dom, console = shown(f"{odd.url}/#/{page}", tmp_path)
    assert "" == console
    assert "does not answer" not in dom
    assert [] == re.findall(r"can't be shown|\[object|undefined|\bNaN\b", dom)
    for words in shown_too:
        assert words in dom
