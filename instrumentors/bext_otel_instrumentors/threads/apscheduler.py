"""APScheduler: a job that falls due is nobody's work, whoever started the scheduler or added the job."""

from __future__ import annotations

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.carrying import apart
from bext_otel_instrumentors._kit.patch import Patches

__all__ = ["APSchedulerInstrumentor"]


class APSchedulerInstrumentor(Instrumentor):
    """Instruments APScheduler as soon as it is imported: its rounds, and the jobs that they start, have an
    empty context.

    Its asyncio, Tornado, Twisted and gevent schedulers set timers, which copy the context of whoever added a
    job last; a blocking one works in the context of whoever called it.
    """

    requires = ("apscheduler >= 3.10, < 4",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "apscheduler.schedulers.base",
            lambda base: patches.wrap(base.BaseScheduler, "_process_jobs", apart),
        )
