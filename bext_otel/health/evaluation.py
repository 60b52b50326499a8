"""What `/health`, `/health/live` and `/health/ready` say."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from bext_otel.config import AppHealthSettings, CheckSettings, GroupSettings, ThresholdSettings
from bext_otel.errors import ConfigError
from bext_otel.health.checks import Check, Status, combined, weighed
from bext_otel.health.declared import declared
from bext_otel.health.groups import members, unknown
from bext_otel.health.probes import Ask, Clock, Concluded, Probe, Prober
from bext_otel.health.standing import Patience
from bext_otel.health.telling import tell
from bext_otel.health.thresholds import judged

if TYPE_CHECKING:
    import asyncio

__all__ = ["READINESS", "Health", "HealthReport"]

Apps: TypeAlias = Mapping[str, Mapping[str, str]]

_log = logging.getLogger(__name__)
_AS_REGISTERED = CheckSettings()
_NO_SETTINGS = GroupSettings()
_NO_APP_SETTINGS = AppHealthSettings()

READINESS = frozenset({"database", "isolates"})
"""Checks that readiness asks for as soon as they are registered."""


@dataclass(frozen=True)
class HealthReport:
    """The state of the service, or of a group. `uptime_seconds` counts since the `Health` was made; `unknown`
    are checks that the group names, and nobody has registered."""

    status: Status
    checks: Mapping[str, Check] = field(default_factory=dict)
    apps: Apps = field(default_factory=dict)
    version: str = ""
    uptime_seconds: float = 0.0
    unknown: tuple[str, ...] = ()
    http_statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def http_status(self) -> int:
        """503 if unhealthy, or if something critical was not asked yet, else 200: what is degraded still
        serves. `http_statuses` may say otherwise, but for a group whose checks are `unknown`."""
        if self.unknown:
            return 503
        if self.status in self.http_statuses:
            return self.http_statuses[self.status]
        return 503 if self.status in {"unhealthy", "starting"} else 200

    def document(self) -> dict[str, Any]:
        """The document that the platform's specification shows, ready for JSON."""
        return {
            **self.plain(),
            "version": self.version,
            "uptime_secs": int(self.uptime_seconds),
            "checks": {name: check.document() for name, check in self.checks.items()},
            "apps": {name: dict(app) for name, app in self.apps.items()},
        }

    def plain(self) -> dict[str, Any]:
        """The same for those who may not see the details."""
        if not self.unknown:
            return {"status": self.status}
        return {"status": self.status, "reason": f"no check is named {', '.join(self.unknown)}"}


class Health:
    """The registered probes and apps, and the three questions about them.

    Probes are asked in the background, from `begin` or the first question on: every `interval_seconds`, for
    `timeout_seconds` at most, unless they are registered with others or `checks` (by name) say so. `version`
    is the service's. Questions are answered at once from what was found last, and are safe from any thread.
    `warn` is told, once it is asked, which of the `groups` names a check that nobody has registered.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 2.0,
        interval_seconds: float = 1.0,
        version: str = "",
        clock: Clock = time.monotonic,
        checks: Mapping[str, CheckSettings] | None = None,
        groups: Mapping[str, GroupSettings] | None = None,
        apps: Mapping[str, AppHealthSettings] | None = None,
        thresholds: ThresholdSettings | None = None,
        warn: Callable[[str], object] = _log.warning,
    ) -> None:
        self._default = Patience(interval_seconds, timeout_seconds)
        self._version = version
        self._clock = clock
        self._started = clock()
        judge = partial(judged, thresholds=thresholds or ThresholdSettings())
        self._prober = Prober(clock=clock, tell=_tell, judge=judge)
        self._draining = False
        self._ends_soon: Callable[[], bool] = bool
        self._has_started = False
        self._settings = checks or {}
        self._groups = groups or {}
        self._app_settings = apps or {}
        self._deployed_over: dict[str, str] = {}
        self.warn = warn
        # Setting, deleting and copying are one step each, so neither needs a lock, which a fork could leave
        # held.
        self._probes: dict[str, Probe] = {}
        self._apps: dict[str, Mapping[str, str]] = {}
        self._beside: list[Probe] = []
        self._app_checks: Callable[[str], Mapping[str, Check]] = lambda _: {}

    def register(
        self,
        name: str,
        probe: Ask,
        *,
        critical: bool | None = None,
        timeout_seconds: float | None = None,
        interval_seconds: float | None = None,
        failures: int = 1,
        successes: int = 1,
        at_once: bool = False,
    ) -> None:
        """Ask `probe` from now on, under `name`; it takes the place of one with the same name.

        It is called in a thread of ours and returns a `Check`, a mapping of details, or None or True for
        healthy, False for unhealthy; what it raises is unhealthy, with the exception's type as the reason. A
        coroutine function is awaited in the event loop that runs where it is registered, or in one of its
        own. `critical` says that the service can't do without: readiness asks for it (default: only for the
        names in `READINESS`). `failures` results in a row turn it for the worse, `successes` back; being past
        the limit turns something critical at once. With `at_once`, a probe that looks at memory only is asked
        by whoever wants to know, and at no interval. Settings for a check of this name come before all that
        is said here. Raises ConfigError for what can't be asked like this.
        """
        if not callable(probe):
            raise ConfigError(
                f"health probe {name!r} = {probe!r}: expected a function, or a coroutine function"
            )
        default, settings = self._default, self._settings.get(name, _AS_REGISTERED)
        if not settings.enabled:
            return
        patience = Patience(
            settings.interval_seconds
            or (default.interval_seconds if interval_seconds is None else interval_seconds),
            settings.timeout_seconds
            or (default.timeout_seconds if timeout_seconds is None else timeout_seconds),
            settings.failures or failures,
            settings.successes or successes,
        )
        _check(name, patience)
        if settings.critical is not None:
            critical = settings.critical
        made = Probe(
            probe,
            name in READINESS if critical is None else critical,
            patience,
            _running_loop(),
            at_once,
            name=name,
        )
        self.unregister(name)
        self._probes[name] = made
        self._prober.add(made)

    def unregister(self, name: str) -> None:
        """Stop asking the probe of this name; nothing happens if there is none."""
        if (probe := self._probes.pop(name, None)) is not None:
            probe.removed = True

    def register_app(self, name: str, status: str = "running", version: str = "") -> None:
        """Show an app, or its new state; the state "failed" degrades the service."""
        self._apps[name] = MappingProxyType({"status": status, "version": version})

    def deployed(self, name: str, version: str, status: str) -> None:
        """Show what a deploy makes of an app: `deploying`; then the new version, or, rolled back, the one
        before; `failed` with the new one."""
        before = self._apps.get(name, {}).get("version", "")
        if status == "deploying":
            self._deployed_over[name] = before
            self.register_app(name, "deploying", version)
        elif status == "rolled_back":
            self.register_app(name, "running", self._deployed_over.pop(name, before))
        else:
            self._deployed_over.pop(name, None)
            self.register_app(name, "failed" if status == "failed" else "running", version)

    @property
    def apps(self) -> tuple[str, ...]:
        """Names of the apps that are shown."""
        return tuple(self._apps.copy())

    def app(self, name: str) -> HealthReport:
        """How an app fares: its status and its checks. Raises KeyError for one that is not known."""
        shown, settings = self._apps[name], self._app_settings.get(name, _NO_APP_SETTINGS)
        probes = self._probes.copy()
        self.begin()
        checks = {check: self._prober.shown(probes[check]) for check in settings.checks if check in probes}
        missing = tuple(check for check in settings.checks if check not in probes)
        checks.update(self._app_checks(name))
        weights = [check.status for check in checks.values()]
        if shown["status"] == "failed" or missing:
            weights.append("unhealthy")
        report = self._report(combined(weights), checks, {name: shown})
        return replace(report, unknown=missing)

    def watch(
        self,
        look: Callable[[], object],
        interval_seconds: float,
        app_checks: Callable[[str], Mapping[str, Check]],
    ) -> None:
        """Call `look` at this interval while checks are asked; it is no check itself. `app_checks` says what
        was found out about an app by that."""
        patience = Patience(interval_seconds, self._default.timeout_seconds)
        made = Probe(lambda: bool(look()) or None, False, patience)
        self._beside.append(made)
        self._app_checks = app_checks
        self._prober.add(made)

    def register_found(self, name: str, probe: Ask, **asked: Any) -> None:
        """Ask what was found without a word from the application, unless it has registered something under
        this name."""
        if name in self._probes:
            return
        self.register(name, probe, **asked)
        # What a service begins to use while it serves does not make it unready before it has been asked.
        if (made := self._probes.get(name)) is not None:
            made.is_late = self._prober.begun

    def register_declared(self) -> None:
        """Ask what the settings declare."""
        for name, settings in self._settings.items():
            seconds = settings.timeout_seconds or self._default.timeout_seconds
            if (probe := declared(settings, seconds)) is not None:
                self.register(name, probe)

    def begin(self) -> None:
        """Ask the probes from now on; nothing happens if they are."""
        if self._prober.begun:
            return
        self._prober.begin([*self._probes.copy().values(), *self._beside])
        for name, settings in self._groups.items():
            for check in unknown(settings, self._probes.copy()):
                self.warn(
                    f"[health.groups.{name}] checks names {check!r}, and no check has that name: the group "
                    "is unhealthy"
                )

    def current(self) -> Mapping[str, Check]:
        """What each check says now; nothing while nobody asks them."""
        if not self._prober.begun:
            return {}
        return {name: self._prober.shown(probe) for name, probe in self._probes.copy().items()}

    def end(self) -> None:
        """Ask nobody any more."""
        self._prober.end()

    def drain_with(self, ends_soon: Callable[[], bool]) -> None:
        """Drain while `ends_soon` says so, too: the service that this process is a worker of does."""
        self._ends_soon = ends_soon

    def drain(self) -> None:
        """From now on this process is not ready: no new traffic, please. What comes is served."""
        self._draining = True

    def live(self) -> HealthReport:
        """Is the process alive? It answers, so it is; asks no probe, takes no lock."""
        return self._report("healthy")

    def ready(self, *, wait_seconds: float = 0.0) -> HealthReport:
        """Can it serve traffic? What is critical, and whether it drains. Waits for first answers for as long
        at most."""
        return self.group("ready", wait_seconds=wait_seconds)

    def group(self, name: str, *, wait_seconds: float = 0.0) -> HealthReport:
        """What the checks of a group add up to; `ready` knows whether it drains, and
        `startup` is healthy for good once it was. Waits for first answers for as long at most."""
        settings, probes = self._groups.get(name, _NO_SETTINGS), self._probes.copy()
        critical = (check for check, probe in probes.items() if probe.critical)
        chosen = members(name, settings, probes, critical)
        missing = unknown(settings, probes)
        if name == "startup" and self._has_started:
            chosen, missing = {}, ()
        if not chosen and not missing and name != "ready":
            return replace(self._report("healthy"), http_statuses=settings.status)
        report = self._asked(chosen, wait_seconds=wait_seconds, drains=name == "ready")
        if missing:
            report = replace(report, status="unhealthy", unknown=missing)
        elif name == "startup" and report.status not in {"unhealthy", "starting"}:
            self._has_started = True
        return replace(report, http_statuses=settings.status)

    def full(self, *, wait_seconds: float = 0.0) -> HealthReport:
        """All probes and apps: unhealthy if something critical is, degraded if anything else isn't
        healthy. Waits for first answers for as long at most."""
        return self._asked(self._probes.copy(), self._apps.copy(), wait_seconds=wait_seconds)

    def _asked(
        self,
        probes: Mapping[str, Probe],
        apps: Apps | None = None,
        *,
        wait_seconds: float,
        drains: bool = True,
    ) -> HealthReport:
        apps = apps or {}
        self.begin()
        if not self._prober.begun:
            self._prober.ask_now([*probes.values(), *self._beside])
        elif wait_seconds:
            self._prober.wait(list(probes.values()), wait_seconds)
        checks = {name: self._prober.shown(probe) for name, probe in probes.items()}
        weights = [
            weighed(check.status, critical=_counts(probes[name], check)) for name, check in checks.items()
        ]
        if any(app["status"] == "failed" or self._is_unwell(name) for name, app in apps.items()):
            weights.append("degraded")
        if drains and (self._draining or self._ends_soon()):
            checks["drain"] = Check.unhealthy(reason="this process ends soon, and still serves")
            weights.append("unhealthy")
        return self._report(combined(weights), checks, apps)

    def _is_unwell(self, app: str) -> bool:
        return any(check.status != "healthy" for check in self._app_checks(app).values())

    def _report(
        self, status: Status, checks: Mapping[str, Check] | None = None, apps: Apps | None = None
    ) -> HealthReport:
        return HealthReport(status, checks or {}, apps or {}, self._version, self._clock() - self._started)


def _counts(probe: Probe, check: Check) -> bool:
    """Whether the service can't do without what this check says."""
    return probe.critical and not (probe.is_late and check.status == "starting")


def _tell(concluded: Concluded) -> None:
    if not concluded.probe.name:  # no check, but what looks after some
        return
    probe, latency_ms, before, now = concluded
    tell(probe.name, probe.critical, latency_ms, before, now)


def _check(name: str, patience: Patience) -> None:
    for setting in ("timeout_seconds", "interval_seconds"):
        if not (seconds := getattr(patience, setting)) > 0:
            raise ConfigError(
                f"health probe {name!r}: {setting} = {seconds!r}: expected seconds above 0, e.g. 2"
            )
    for setting in ("failures", "successes"):
        if not (results := getattr(patience, setting)) >= 1:
            raise ConfigError(
                f"health probe {name!r}: {setting} = {results!r}: expected a whole number from 1"
            )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    module = sys.modules.get("asyncio")
    try:
        return None if module is None else module.get_running_loop()
    except RuntimeError:
        return None
