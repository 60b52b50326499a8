"""What becomes of what rules find: alerts that are pending, fire and are resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from bext_otel.alerts.alarm import Detector
from bext_otel.alerts.reading import Reading
from bext_otel.alerts.seasonal import SeasonalDetector
from bext_otel.alerts.watching import Finding, Watched
from bext_otel.alerts.windows import Key
from bext_otel.config.model import AlertRule

__all__ = ["Alert", "Evaluator", "State"]

State: TypeAlias = Literal["pending", "firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule about one series. `labels` are those that tell it apart and those that the rule adds, with
    `alertname` and `severity`; times are seconds since 1970; `text` says what was found, for people."""

    rule: str
    state: State
    labels: Mapping[str, str]
    value: float
    since_unix: float
    time_unix: float
    text: str
    description: str = ""
    runbook_url: str = ""


class Evaluator:
    """Rules, and how their alerts stand. Not for several threads at once."""

    def __init__(
        self,
        rules: Mapping[str, AlertRule],
        *,
        detector: Callable[[], Detector] = SeasonalDetector,
    ) -> None:
        self._watched = {name: Watched(rule, detector=detector) for name, rule in rules.items()}
        self._active: dict[tuple[str, Key], Alert] = {}
        self.failures: dict[str, str] = {}

    @property
    def active(self) -> list[Alert]:
        """Those that are pending or fire."""
        return list(self._active.values())

    def evaluate(self, reading: Reading) -> list[Alert]:
        """What has changed: alerts that fire from now on, and those that are resolved. A rule that fails is
        told in `failures`, and keeps no other one."""
        changed: list[Alert] = []
        for name, watched in self._watched.items():
            try:
                found = watched.look(reading)
            except Exception as error:  # one rule's trouble is not another one's
                self.failures[name] = f"{type(error).__name__}: {error}"
                continue
            changed += self._settle(name, watched.rule, found, reading.time_unix)
        return changed

    def _settle(self, name: str, rule: AlertRule, found: Mapping[Key, Finding], now: float) -> list[Alert]:
        changed: list[Alert] = []
        for key, finding in found.items():
            if not finding.is_odd:
                continue
            before = self._active.get((name, key))
            alert = _alert(name, rule, key, finding, now, since=now if before is None else before.since_unix)
            if now - alert.since_unix >= rule.for_seconds or (before and before.state == "firing"):
                alert = replace(alert, state="firing")
                if before is None or before.state != "firing":
                    changed.append(alert)
            self._active[name, key] = alert
        for held, alert in list(self._active.items()):
            current = found.get(held[1])
            if held[0] == name and (current is None or not current.is_odd):
                del self._active[held]
                if alert.state == "firing":
                    value = alert.value if current is None else current.value
                    changed.append(replace(alert, state="resolved", time_unix=now, value=value))
        return changed


def _alert(name: str, rule: AlertRule, key: Key, finding: Finding, now: float, *, since: float) -> Alert:
    told = {label: value for label, value in zip(rule.by, key, strict=True) if value}
    labels = {**rule.labels, **told, "alertname": name, "severity": rule.severity}
    return Alert(
        name,
        "pending",
        labels,
        finding.value,
        since,
        now,
        _text(rule, finding),
        rule.description,
        rule.runbook_url,
    )


def _text(rule: AlertRule, finding: Finding) -> str:
    if finding.alarm is not None:
        return f"{rule.metric} is {finding.alarm}"
    if rule.kind == "absence":
        return f"{rule.metric} is not there"
    side = "above" if rule.comparison == "above" else "below"
    if rule.kind == "burn_rate":
        return f"errors of {rule.metric} burn {finding.value:.4g} times the budget of {rule.objective:g}"
    of = f" of {' + '.join(rule.of)}" if rule.of else ""
    what = {"threshold": "", "rate": " a second", "ratio": f"{of or ' of all'}"}[rule.kind]
    return f"{rule.metric} is {finding.value:.4g}{what}, {side} {rule.limit:g}"
