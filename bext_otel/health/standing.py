"""What a check's results add up to over time: when its status turns, and when one is too old to count."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bext_otel.health.checks import Check, Status, severity

__all__ = ["Patience", "Standing", "timed_out"]


@dataclass(frozen=True)
class Patience:
    """How a check is asked: the seconds from one asking to the next, the seconds that it may take, and how
    many results in a row turn its status for the worse and back."""

    interval_seconds: float
    timeout_seconds: float
    failures: int = 1
    successes: int = 1


@dataclass(frozen=True)
class Standing:
    """The newest result, when it was found (seconds of the prober's clock), the status that holds, since
    when, and how many results in a row said something else."""

    check: Check
    at: float
    status: Status
    since: float
    against: int = 0

    @classmethod
    def first(cls, check: Check, at: float) -> Standing:
        """After the first result, which holds at once."""
        return cls(check, at, check.status, at)

    def after(self, check: Check, at: float, patience: Patience, *, at_once: bool = False) -> Standing:
        """After one more result. `at_once` has it turn the status without waiting for others that agree."""
        if check.status == self.status:
            return replace(self, check=check, at=at, against=0)
        worse = severity(check.status) > severity(self.status)
        needed = patience.failures if worse else patience.successes
        if at_once or self.against + 1 >= needed:
            return Standing(check, at, check.status, at)
        return replace(self, check=check, at=at, against=self.against + 1)

    def shown(self, now: float, patience: Patience, *, in_time: bool) -> Check:
        """What to say at `now`: the newest result under the status that holds, and its age.

        Once it is older than three intervals nobody has looked after it, and it counts as failed, unless the
        next run is `in_time`: it began when it was due, and may still take a while.
        """
        age = max(now - self.at, 0.0)
        if age > 3 * patience.interval_seconds and not in_time:
            reason = f"the last answer is {age:.3g} s old; it is asked each {patience.interval_seconds:g} s"
            return Check.unhealthy(reason=reason, age_secs=round(age, 1))
        details = {**self.check.details, "age_secs": round(age, 1)}
        if self.against:
            details["turning"] = f"{self.check.status}, {self.against} in a row"
        return replace(self.check, status=self.status, details=details)


def timed_out(patience: Patience) -> Check:
    """The result of a run that is past its limit."""
    return Check.unhealthy(reason=f"no answer within {patience.timeout_seconds:g} s")
