"""Jaeger's remote sampler: what is sampled is asked of a collector, now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from bext_otel.export.sampling_strategy import ByOperation, strategy_of_json, strategy_of_protobuf
from bext_otel.export.sender import NO_TIME, Sender, sender
from bext_otel.process import on_fork
from bext_otel.redaction import redact_url
from bext_otel.text import encodable
from bext_otel.threads import GRPC_THREADS, has_room_for
from bext_otel.traces.ratio import ConsistentRatio

__all__ = ["RemoteSampler"]

_log = logging.getLogger("bext_otel.export")

_TIMEOUT_SECONDS = 5.0
_MAX_ANSWER = 4 << 20
_METHOD = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"


class RemoteSampler(Sampler):
    """Samples as the Remote Sampling API at `endpoint` says, asked each `interval_seconds`; until it has
    answered, `initial_ratio` of all traces.

    An endpoint without a path (`http://collector:14250`) is asked over gRPC, and over HTTP at `/sampling`
    where that fails; one with a path is a URL. The first span begins the asking, in the thread that exports:
    where no thread can be had, it stays at `initial_ratio`.
    """

    def __init__(
        self, endpoint: str, interval_seconds: float, initial_ratio: float, *, through: Sender = sender
    ) -> None:
        self.endpoint, self.interval_seconds = endpoint, interval_seconds
        self._strategy = ByOperation(ConsistentRatio(initial_ratio))
        self._sender = through
        self._fails = False
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}", scheme="http")
        self._ways = [self._over_http] if parts.path.strip("/") else [self._over_grpc, self._over_http]
        self._scheme, self._server = parts.scheme, parts.netloc
        self._path = parts.path if parts.path.strip("/") else "/sampling"
        self._start_over()
        on_fork(in_child=self._start_over)

    def _start_over(self) -> None:
        self._joined = False
        self._next = 0.0

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `opentelemetry.sdk.trace.sampling.Sampler`."""
        if not self._joined:
            self._joined = self._sender.join(self)
        decides = self._strategy.sampler(name, trace_id)
        return decides.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """See `opentelemetry.sdk.trace.sampling.Sampler`."""
        return f"JaegerRemoteSampler{{{redact_url(self.endpoint)}}}"

    def pause(self) -> float:
        """See `Member`."""
        return max(self._next - time.monotonic(), NO_TIME)

    def work(self) -> None:
        """See `Member`: ask, if it is time to."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.interval_seconds
        try:
            with suppress_instrumentation():
                self._strategy = self._ask()
        except Exception as error:  # the last strategy holds
            self._tell(error)
            return
        if self._fails:
            self._fails = False
            _log.info("what is to be sampled is told again by %s", redact_url(self.endpoint))

    def _ask(self) -> ByOperation:
        errors = []
        for way in self._ways:
            try:
                found = way(_service_name())
            except Exception as error:  # another way may be the right one
                errors.append(error)
            else:
                self._ways = [way]
                return found
        raise errors[-1]

    def _tell(self, error: Exception) -> None:
        if not self._fails:
            self._fails = True
            _log.warning(
                "what is to be sampled cannot be asked of %s (%s: %s); what it said last holds, or "
                "initialSamplingRate (OTEL_TRACES_SAMPLER_ARG says whom to ask)",
                redact_url(self.endpoint),
                type(error).__name__,
                str(error)[:200],
            )

    def _over_http(self, service: str) -> ByOperation:
        url = f"{self._scheme}://{self._server}{self._path}?{urlencode({'service': service})}"
        # A URL of the operator's, http or https.
        request = Request(url, headers={"Accept": "application/json"})  # noqa: S310
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  # nosec B310
            content = answer.read(_MAX_ANSWER + 1)
        if len(content) > _MAX_ANSWER:
            raise ValueError(f"the answer has more than {_MAX_ANSWER} bytes")
        return strategy_of_json(content)

    def _over_grpc(self, service: str) -> ByOperation:
        if not has_room_for(GRPC_THREADS):
            raise RuntimeError("gRPC needs threads, and none can be started")
        import grpc

        credentials = grpc.ssl_channel_credentials() if self._scheme == "https" else None
        channel = (
            grpc.secure_channel(self._server, credentials)
            if credentials is not None
            else grpc.insecure_channel(self._server)
        )
        name = service.encode()[:127]
        with channel:
            ask = channel.unary_unary(_METHOD)  # bytes in, bytes out
            return strategy_of_protobuf(ask(b"\x0a%c%b" % (len(name), name), timeout=_TIMEOUT_SECONDS))


def _service_name() -> str:
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    return encodable(str(getattr(resource, "attributes", {}).get("service.name", "unknown_service")))
