"""Coverage-guided fuzzing of whatever parses bytes that others chose, for a bounded time.

`python scripts/fuzz.py [--seconds 15] [TARGET ...]`, with atheris installed (`pip install atheris`; it has
wheels for some Pythons on Linux only, so it is no dependency). Each target runs in a process of its own for
so many seconds; an exception that it may not raise ends it with 1 and leaves the input beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def otlp_protobuf() -> Callable[[bytes], object]:
    """The viewer's decoder, and what becomes of what it takes."""
    return _viewer("application/x-protobuf")


def otlp_json() -> Callable[[bytes], object]:
    """The same in JSON."""
    return _viewer("application/json")


def _viewer(content_type: str) -> Callable[[bytes], object]:
    from bext_otel.viewer import Store
    from bext_otel.viewer.app import ViewerApp

    def take(data: bytes) -> None:
        import io

        app = ViewerApp(Store())
        statuses: list[str] = []
        for signal in ("traces", "logs", "metrics"):
            environ = {
                "REQUEST_METHOD": "POST",
                "PATH_INFO": f"/v1/{signal}",
                "HTTP_HOST": "localhost",
                "CONTENT_TYPE": content_type,
                "CONTENT_LENGTH": str(len(data)),
                "wsgi.input": io.BytesIO(data),
            }
            app(environ, lambda status, _: statuses.append(status))  # type: ignore[arg-type]
        for path in ("summary", "traces", "logs", "metrics"):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/api/{path}", "HTTP_HOST": "localhost"}
            app(environ, lambda status, _: statuses.append(status))  # type: ignore[arg-type]
        if any(status.startswith("5") for status in statuses):
            raise AssertionError(statuses)

    return take


def worker_file() -> Callable[[bytes], object]:
    """What another worker has published."""
    from bext_otel.metrics.merging.sum import Tally
    from bext_otel.metrics.merging.wire import decode

    def take(data: bytes) -> None:
        found = decode(data)
        if found is not None:
            tally = Tally(10.0)
            tally.add(found, alive=True)
            tally.add(found, alive=False)
            tally.settle()
            _ = tally.foreign, tally.rates

    return take


def settings() -> Callable[[bytes], object]:
    """A settings file, and variables."""
    from bext_otel.config import load

    folder = Path(tempfile.mkdtemp(prefix="bext-fuzz-"))

    def take(data: bytes) -> None:
        file = folder / "any.toml"
        file.write_bytes(data)
        text = data.decode("utf-8", "replace").replace("\0", "")
        environ = dict.fromkeys(
            ("BEXT_METRICS_BUDGETS", "OTEL_RESOURCE_ATTRIBUTES", "BEXT_HEALTH_DISK_PATH"), text
        )
        load(environ={**environ, "BEXT_CONFIG": str(file)})

    return take


def headers() -> Callable[[bytes], object]:
    """Headers of requests, and the secrets in their targets."""
    from bext_otel.endpoints.formats.negotiate import gzip_wanted, metrics_format
    from bext_otel.redaction import redact_text, redact_url
    from bext_otel.text import parse_traceparent, visible

    def take(data: bytes) -> None:
        text = data.decode("latin-1")
        metrics_format(text)
        gzip_wanted(text)
        parse_traceparent(text)
        if len(visible(text).splitlines()) > 1:
            raise AssertionError(text)
        redact_text(text)
        if redact_url(once := redact_url(text)) != once:
            raise AssertionError(text)

    return take


TARGETS: dict[str, Callable[[], Callable[[bytes], object]]] = {
    target.__name__: target for target in (otlp_protobuf, otlp_json, worker_file, settings, headers)
}


def run(name: str, seconds: int, corpus: Path) -> None:
    """Fuzz one target in this process, which that ends."""
    import atheris

    with atheris.instrument_imports(include=["bext_otel"]):
        take = TARGETS[name]()
    options = [f"-max_total_time={seconds}", "-max_len=16384", "-rss_limit_mb=2048", "-timeout=20"]
    atheris.Setup([name, *options, f"-artifact_prefix={corpus}/", str(corpus)], take)
    atheris.Fuzz()


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with."""
    with suppress(ImportError):
        if name == "worker_file":
            from bext_otel.metrics.merging.wire import encode
            from tests.metrics.merging.test_garbled import publication

            return [encode(publication(base=publication()))]
        if name == "otlp_protobuf":
            from tests.viewer.otlp import counter, exponential, line, lines, metrics, span, spans

            held = [
                spans(span(1, a=1)),
                lines(line("m", trace=1)),
                metrics(counter("c", [(2, 1)]), exponential("e", 2, {1: 1})),
            ]
            return [request.SerializeToString() for request in held]
    known = {
        "otlp_json": [b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","name":"a"}]}]}]}'],
        "settings": [b"[metrics]\nport = 1\n[apps.a]\nhosts = ['x']\n", b"a=1,b=2"],
        "headers": [b"text/plain;version=0.0.4;q=0.5", b"https://u:p@h/?token=1#x"],
    }
    return known.get(name, [])


def main() -> None:
    """Run targets, each in a process of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("targets", nargs="*", choices=[[], *TARGETS])
    arguments.add_argument("--seconds", type=int, default=15)
    arguments.add_argument("--in-process", metavar="CORPUS", type=Path)
    chosen = arguments.parse_args()
    if chosen.in_process:
        run(chosen.targets[0], chosen.seconds, chosen.in_process)
        return
    failed = []
    for name in chosen.targets or TARGETS:
        corpus = Path(tempfile.mkdtemp(prefix=f"bext-fuzz-{name}-"))
        for number, seed in enumerate(seeds(name)):
            (corpus / f"seed-{number}").write_bytes(seed)
        print(f"{name} for {chosen.seconds} s", flush=True)
        argv = [sys.executable, __file__, name, "--seconds", str(chosen.seconds), "--in-process", str(corpus)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=chosen.seconds + 120, check=False)
        if done.returncode:
            failed.append(name)
            print(done.stdout[-3000:], done.stderr[-3000:], f"the input is in {corpus}", sep="\n")
        else:
            print(next((row for row in reversed(done.stderr.splitlines()) if "DONE" in row), ""))
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
