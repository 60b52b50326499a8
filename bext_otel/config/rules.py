"""Rules over several settings at once."""

from __future__ import annotations

import os
import re

from bext_otel.catalogue import LABELS
from bext_otel.config.model import ACCESS, HealthSettings, MetricsSettings
from bext_otel.config.report import Given, Path, SettingsReport

__all__ = ["check_apps", "check_budgets", "check_health", "check_together"]

# A label of the application's own that is as near as that to one of ours is a mistake.
_ALIKE = 0.85
_ASKS = ("url", "tcp", "command")
_HEALTH_STATUSES = ("healthy", "starting", "degraded", "unhealthy")
_GROUP_NAME = re.compile(r"[A-Za-z0-9_.~-]+")


def check_together(winners: dict[Path, Given], report: SettingsReport) -> None:
    """Settings that contradict each other."""
    output, file_path = winners.get(("logging", "output")), winners.get(("logging", "file_path"))
    names = output.raw.split(",") if output is not None else []
    if output is not None and "file" in names and (file_path is None or not file_path.raw):
        if len(names) == 1:
            del winners[output.path]
        else:
            winners[output.path] = output.holding(names[0])
        report.wrong(output, '[logging] file_path to say which file, e.g. "/var/log/bext/app.log"')
    access, path = winners.get((ACCESS, "output")), winners.get((ACCESS, "path"))
    if access is not None and access.raw == "file":
        if path is None or not path.raw:
            del winners[access.path]
            report.wrong(access, '[logging.access] path to say which file, e.g. "/var/log/bext/access.log"')
        elif file_path is not None and os.path.normpath(path.raw) == os.path.normpath(file_path.raw):
            del winners[access.path]
            report.wrong(path, "another file than [logging] file_path", instead="written among other lines")
    key, certificate = winners.get(("endpoints", "key_file")), winners.get(("endpoints", "certificate_file"))
    if key is not None and key.raw and (certificate is None or not certificate.raw):
        del winners[key.path]
        report.wrong(key, "[endpoints] certificate_file beside it, or neither")
    metrics, health = winners.get(("metrics", "path")), winners.get(("health", "path"))
    clash = MetricsSettings().path if metrics is None else metrics.raw
    if clash == (HealthSettings().path if health is None else health.raw):
        # Only one whose default is another path can give way; code comes before the world.
        candidates = [
            given
            for given, default in ((health, HealthSettings().path), (metrics, MetricsSettings().path))
            if given is not None and default != clash
        ]
        culprit = min(candidates, key=lambda given: given.explicit)
        del winners[culprit.path]
        report.wrong(culprit, "another path than that of the other endpoint")


def check_budgets(winners: dict[Path, Given], report: SettingsReport) -> None:
    """Budgets of labels that no metric of the catalogue has: they are those of the application's own metrics,
    or mistyped."""
    known = sorted({label.name for label in LABELS})
    for path in [path for path in winners if path[:2] == ("metrics", "budgets") and path[2] not in known]:
        from difflib import get_close_matches  # for who has names of his own there

        given = winners[path]
        if close := get_close_matches(path[2][:64], known, n=1, cutoff=_ALIKE):
            del winners[path]
            report.say(
                f"{given.name}: no metric has a label of this name; did you mean {close[0]}?; ignored",
                explicit=given.explicit,
            )


def check_apps(winners: dict[Path, Given], report: SettingsReport) -> None:
    """Hosts and path prefixes that two applications claim: the first one named has them."""
    owners: dict[tuple[str, str], str] = {}
    for path, given in winners.items():
        if path[0] != "apps" or path[2:] not in {("hosts",), ("paths",), ("mounts",)}:
            continue
        for value in given.raw:
            kind = "host" if path[2] == "hosts" else "path"
            owner = owners.setdefault((kind, value.lower() if kind == "host" else value.rstrip("/")), path[1])
            if owner != path[1]:
                line = (
                    f"{given.name}: {kind} {value!r} belongs to [apps.{owner}] already; give each app its own"
                )
                report.say(line, explicit=given.explicit)


def check_health(winners: dict[Path, Given], report: SettingsReport) -> None:
    """What a check asks, which is one thing, and what groups are called and say."""
    asks: dict[Path, Given] = {}
    for path, given in list(winners.items()):
        kind = path[:2]
        if kind == ("health", "checks") and len(path) == 4 and path[3] in _ASKS and given.raw:
            first = asks.setdefault(path[:3], given)
            if first is not given:
                del winners[path]
                report.wrong(given, f"one of url, tcp and command; {first.path[3]} is set", instead="ignored")
        elif kind == ("health", "groups") and len(path) == 5 and path[4] not in _HEALTH_STATUSES:
            del winners[path]
            report.unknown(given.name, path[4], _HEALTH_STATUSES, explicit=given.explicit)
        elif kind == ("health", "groups") and len(path) == 3 and not _GROUP_NAME.fullmatch(path[2]):
            for below in [each for each in winners if each[:3] == path]:
                del winners[below]
            report.say(
                f"{given.name}: expected a name of letters, digits, `-`, `_`, `.` and `~`, which stands in a "
                "path; ignored",
                explicit=given.explicit,
            )
