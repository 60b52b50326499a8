"""OTLP over HTTP: each signal's address, and what becomes of a body that is sent there."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from bext_otel.viewer.answers import Answer
from bext_otel.viewer.intake.receiver import BadBodyError, decode, encode, encode_error
from bext_otel.viewer.intake.turnstile import BusyError, Turnstile
from bext_otel.viewer.metrics import Source
from bext_otel.viewer.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["Ingest"]

_M = TypeVar("_M", bound=Message)

_LENGTH = re.compile("[0-9]{1,18}")


@dataclass(frozen=True)
class _Sent:
    """A body as it came. `enter` has to be called before much is made of it."""

    body: bytes
    content_type: str
    encoding: str
    enter: Callable[[], None]


_Take: TypeAlias = Callable[[_Sent], Answer]


class Ingest:
    """Takes `POST /v1/{traces,metrics,logs}` into a `Store`: small bodies as they come, large ones one at a
    time, and all of them outside the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turnstile = Turnstile(store.limits.wait_seconds)
        self._takers: dict[str, _Take] = {
            "/v1/traces": self._take_spans,
            "/v1/logs": self._take_logs,
            "/v1/metrics": self._take_metrics,
        }

    @property
    def addresses(self) -> Collection[str]:
        """Where OTLP is sent."""
        return self._takers.keys()

    def receive(self, environ: WSGIEnvironment) -> Answer:
        """Take the body of a POST to one of `addresses`."""
        take = self._takers[environ["PATH_INFO"]]
        content_type = environ.get("CONTENT_TYPE", "")
        try:
            with self._turnstile.entrance() as enter:
                length = self._length(environ)
                if length > self._store.limits.large_bytes:
                    enter()
                return take(
                    _Sent(
                        environ["wsgi.input"].read(length),
                        content_type,
                        environ.get("HTTP_CONTENT_ENCODING", ""),
                        enter,
                    )
                )
        except BadBodyError as exc:
            self._store.refuse_body()
            return Answer(exc.status, *encode_error(exc.status, exc.reason, content_type))
        except BusyError:
            self._store.refuse_body()
            refusal = encode_error(503, "another large body is being taken; send it again", content_type)
            return Answer(503, *refusal, (("Retry-After", "1"),))

    def _length(self, environ: WSGIEnvironment) -> int:
        length = environ.get("CONTENT_LENGTH") or "0"
        limit = self._store.limits.body_bytes
        if not _LENGTH.fullmatch(length):
            raise BadBodyError(400, "Content-Length is no number")
        if int(length) > limit:
            raise BadBodyError(413, f"the body has {length} bytes: at most {limit} are taken")
        return int(length)

    def _take_spans(self, sent: _Sent) -> Answer:
        reply = trace_service_pb2.ExportTraceServiceResponse()
        if refused := self._store_all(
            sent, trace_service_pb2.ExportTraceServiceRequest, self._store.add_spans
        ):
            reply.partial_success.rejected_spans = refused
            reply.partial_success.error_message = (
                f"trace ids have 16 bytes, span ids 8; {self._too_many('a span')}"
            )
        return Answer(200, *encode(reply, sent.content_type))

    def _take_logs(self, sent: _Sent) -> Answer:
        reply = logs_service_pb2.ExportLogsServiceResponse()
        if refused := self._store_all(sent, logs_service_pb2.ExportLogsServiceRequest, self._store.add_logs):
            reply.partial_success.rejected_log_records = refused
            reply.partial_success.error_message = self._too_many("a log record")
        return Answer(200, *encode(reply, sent.content_type))

    def _take_metrics(self, sent: _Sent) -> Answer:
        heard: dict[Source, int] = {}
        reply = metrics_service_pb2.ExportMetricsServiceResponse()
        if refused := self._store_all(
            sent,
            metrics_service_pb2.ExportMetricsServiceRequest,
            lambda request: self._store.add_metrics(request, heard),
        ):
            reply.partial_success.rejected_data_points = refused
            reply.partial_success.error_message = (
                "no recorded value, too many labels or buckets, or buckets that contradict their bounds; "
                f"{self._too_many('a metric')}"
            )
        return Answer(200, *encode(reply, sent.content_type))

    def _store_all(self, sent: _Sent, kind: type[_M], add: Callable[[_M], int]) -> int:
        """Store what was sent, a part at a time; returns how much of it was refused."""
        refused = 0
        for part in decode(
            kind,
            sent.body,
            content_type=sent.content_type,
            encoding=sent.encoding,
            limits=self._store.limits,
            large=sent.enter,
        ):
            if part is None:
                self._store.refuse_item()
                refused += 1
            else:
                refused += add(part)
        return refused

    def _too_many(self, item: str) -> str:
        return f"{item} has at most {self._store.limits.item_elements} elements"
