"""DBOS: durable workflows are runs of flows, in one trace, also when another process goes on with them after
this one was killed.

DBOS makes spans of its own with `enable_otlp`; then it goes on to, in the same trace, and ours are left out.
A workflow that is cancelled neither completes nor fails; one that waits in a queue is not active yet. DBOS's
own looking for work makes no spans.
"""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches, around
from bext_otel_instrumentors.dbos import runs
from bext_otel_instrumentors.dbos.polling import polling

__all__ = ["DBOSInstrumentor"]


class DBOSInstrumentor(Instrumentor):
    """Instruments DBOS as soon as it is imported."""

    # DBOS 3, which keeps attributes with workflows. Steps and outcomes can be seen inside of it only,
    # hence the upper bound
    requires = ("dbos >= 3.4, < 4",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("dbos", self._cover)
        patches.when_imported("dbos._sys_db_postgres", self._cover_postgres)

    def _cover(self, _: Any) -> None:
        from dbos import _context, _core, _dbos, _queue, _scheduler, _sys_db

        replaced: tuple[tuple[Any, str, Any], ...] = (
            (_core, "execute_dequeued_workflow", runs.claiming),
            (_queue, "execute_dequeued_workflow", runs.claiming),
            (_core, "_assemble_workflow_status", runs.assembling),
            (_core, "invoke_step", runs.executing),
            (_context.DBOSContext, "start_workflow", runs.starting),
            (_context.DBOSContext, "end_workflow", runs.ending),
            (_sys_db.SystemDatabase, "update_workflow_outcome", runs.outcome),
            (_sys_db.SystemDatabase, "record_operation_result", runs.recording),
            (_sys_db.SystemDatabase, "list_workflows", runs.listing),
        )
        for owner, name, watched in replaced:
            self._patches.wrap(owner, name, around(watched))
        self._patches.wrap(_context.DBOSContext, "create_start_workflow_child", runs.making)
        self._cover_polling(
            (_dbos, "queue_thread"),
            (_dbos, "background_jobs_thread"),
            (_dbos, "dynamic_scheduler_loop"),
            (_queue, "queue_worker_thread"),
            (_scheduler._ScheduleThread, "_loop"),
            (_sys_db.SystemDatabase, "run_notification_listener"),
            (_sys_db.SystemDatabase, "run_notifier"),
        )

    def _cover_postgres(self, module: Any) -> None:
        self._cover_polling((module.PostgresSystemDatabase, "run_notifier"))

    def _cover_polling(self, *threads: tuple[Any, str]) -> None:
        for owner, name in threads:
            if hasattr(owner, name):  # each of DBOS's versions has its own
                self._patches.wrap(owner, name, around(polling))
