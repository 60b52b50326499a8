"""Who sees what on which listener: the one policy of all endpoints, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from bext_otel.config import EndpointsSettings
from bext_otel.endpoints.token import Token

__all__ = ["POLICY", "Access", "Caller", "Door", "Rule", "What"]

What: TypeAlias = Literal["status", "details", "metrics", "system", "telemetry", "moved", "levels"]
"""What there is to see."""

Door: TypeAlias = Literal["open", "token", "token, if one is set", "setting"]
"""Who sees it: everybody; who has the token; the same, but everybody where no token is set; or as
`[endpoints] metrics` says."""


@dataclass(frozen=True)
class Rule:
    """Who sees something on the stand-alone server on loopback, where a caller is on this machine, and
    elsewhere: on the stand-alone server beyond loopback, behind a proxy, and on the application's port."""

    shows: str
    on_loopback: Door
    elsewhere: Door


POLICY: Mapping[What, Rule] = MappingProxyType(
    {
        "status": Rule("the status of health: `healthy`, `degraded`, `unhealthy`", "open", "open"),
        "details": Rule("the checks, apps and versions of health", "open", "token"),
        "metrics": Rule("metrics in every format", "setting", "setting"),
        "system": Rule("`system` in JSON: memory, processor, descriptors", "open", "token, if one is set"),
        "telemetry": Rule(
            "`telemetry` in JSON: queues and exports; the backend's address in `/metrics`", "open", "token"
        ),
        "moved": Rule(
            "metrics at the platform's path where `[metrics] path` is another than `/metrics`",
            "setting",
            "token",
        ),
        "levels": Rule("log levels, and raising them for a time", "open", "token"),
    }
)
"""What is shown under `metrics` in any case is shown under the others only where `metrics` is."""


@dataclass(frozen=True)
class Caller:
    """Who asks. `trusted`: somebody on this machine, on our own loopback listener."""

    headers: Mapping[str, str]
    trusted: bool


class Access:
    """The policy, with the settings and the token that decide it."""

    def __init__(self, settings: EndpointsSettings, token: Token) -> None:
        self._settings = settings
        self._token = token

    def shows(self, what: What, caller: Caller) -> bool:
        """Whether a caller sees something."""
        rule = POLICY[what]
        return self._is_open(rule.on_loopback if caller.trusted else rule.elsewhere, caller)

    def shows_platform_path(self, caller: Caller, *, moved: bool) -> bool:
        """Whether a caller sees the metrics at the platform's path; `moved`: they have left their own."""
        chosen = self._settings.platform_paths
        if chosen in {"open", "token"}:
            return self._is_open("token" if chosen == "token" else "setting", caller)
        return self.shows("moved" if moved else "metrics", caller)

    def has_token(self, headers: Mapping[str, str]) -> bool:
        """Whether a request shows the token."""
        return self._token.is_in(headers)

    @property
    def is_guarded(self) -> bool:
        """Whether a token is set."""
        return self._token.is_set

    def _is_open(self, door: Door, caller: Caller) -> bool:
        if door == "setting":
            door = self._settings.metrics
        if door == "open" or (door == "token, if one is set" and not self._token.is_set):
            return True
        return self._token.is_in(caller.headers)
