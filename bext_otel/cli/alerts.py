"""`bext-otel alerts`: the rules that are in force, and what one says about what was recorded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from bext_otel.alerts.evaluation import Evaluator
from bext_otel.alerts.reading import readings_of
from bext_otel.alerts.rules import rules_of
from bext_otel.cli.words import command_parser
from bext_otel.config.loading import load
from bext_otel.config.model import AlertRule
from bext_otel.errors import ConfigError
from bext_otel.text import visible

__all__ = ["main"]


def main(arguments: Sequence[str], program: str) -> None:
    """Show the alert rules of the settings that hold here, or try one on what was recorded.

      bext-otel alerts list
      bext-otel alerts test error_ratio --from pages.txt

    The file has pages of /metrics one after the other, each below a line `# at SECONDS`
    (since 1970):

      while sleep 15; do echo "# at $(date +%s)"; curl -s 127.0.0.1:9464/metrics; done > pages.txt

    `test` prints what fires and what is resolved; its exit code is 1 if nothing fires.
    """
    parser = command_parser(program, "[-h] list | test RULE --from FILE", main)
    parser.add_argument("action", choices=("list", "test"), metavar="list | test")
    parser.add_argument("rule", nargs="?", default="", metavar="RULE")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE", help="pages of /metrics")
    given = parser.parse_args(arguments)
    loaded = load()
    for line in loaded.warnings:
        _complain(line)
    rules = rules_of(loaded.config.alert_rules, shipped=loaded.config.alerts.shipped, tell=_complain)
    if given.action == "list":
        _list(rules)
    else:
        raise SystemExit(_test(rules, given))


def _complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _print(line: str) -> None:
    # What was recorded is somebody else's text: nothing in it may steer the terminal.
    sys.stdout.write(f"{visible(line)}\n")


def _list(rules: dict[str, AlertRule]) -> None:
    for name, rule in rules.items():
        by = f" by {', '.join(rule.by)}" if rule.by else ""
        _print(f"{name:<18} {rule.severity:<9} {rule.kind:<10} {rule.metric}{by}")
        if rule.description:
            _print(f"{'':<18} {rule.description}")


def _test(rules: dict[str, AlertRule], given: argparse.Namespace) -> int:
    if given.rule not in rules:
        raise ConfigError(f"there is no rule {given.rule!r}; there are {', '.join(rules) or 'none'}")
    if given.file is None:
        raise ConfigError("test needs --from FILE, with pages of /metrics")
    evaluator = Evaluator({given.rule: rules[given.rule]})
    fired = 0
    try:
        for reading in readings_of(given.file.read_text(encoding="utf-8")):
            for alert in evaluator.evaluate(reading):
                fired += alert.state == "firing"
                at = datetime.fromtimestamp(alert.time_unix, timezone.utc)
                labels = " ".join(f"{name}={value}" for name, value in alert.labels.items())
                _print(f"{at:%Y-%m-%d %H:%M:%S} {alert.state:<9} {labels}: {alert.text}")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{given.file} cannot be read: {error}") from error
    for why in evaluator.failures.values():
        raise ConfigError(f"the rule could not be evaluated: {why}")
    for alert in evaluator.active:
        _print(f"at the end {alert.state}: {alert.text}")
    return 0 if fired else 1
