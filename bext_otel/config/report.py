"""What was wrong with the settings: raised for those given in code, one line each for those of the file and
the environment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from bext_otel.config.fields import shown
from bext_otel.errors import ConfigError

__all__ = ["Given", "Path", "SettingsReport", "nearest", "setting_name", "table_name"]

Path = tuple[str, ...]
"""Where a setting stands: `("logging", "level")`, `("apps", "shop", "hosts")`, `("metrics", "budgets",
"route")`."""

_MAX_LINES = 100
_NESTED = frozenset({"logging.access", "alerts.rules", "alerts.receivers", "alerts.silences"})
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Given(msgspec.Struct, frozen=True):
    """A raw value that somebody gave to the setting at `path`.

    `name` is what they call the setting. `explicit`: in code. `text`: in the environment, as a string.
    `scale` and `unit` belong to a variable whose unit is not the setting's: how many of it make one of the
    setting's.
    """

    path: Path
    raw: Any
    name: str
    explicit: bool = False
    text: bool = False
    scale: float = 1.0
    unit: str = ""
    secret: bool = False

    def holding(self, value: Any) -> Given:
        """The same with the checked value."""
        return msgspec.structs.replace(self, raw=value)

    def __str__(self) -> str:
        value = shown(self.raw, secret=self.secret)
        return f"{self.name}={value}" if self.text else f"{self.name} = {value}"


class SettingsReport:
    """Collects lines. `lines` completes them with what is used instead, once that is known."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Given | None]] = []
        self._wrong: set[Path] = set()

    def wrong(self, given: Given, expected: str, *, instead: str | None = None) -> None:
        """A value that is not what its setting takes. `instead` says what happens; None: what the setting
        ends up as."""
        message = _printable(f"{given}: expected {expected}")
        if given.explicit:
            raise ConfigError(message)
        self._wrong.add(given.path)
        self._entries.append((f"{message}; {instead}", None) if instead else (message, given))

    def is_wrong(self, path: Path) -> bool:
        """Whether somebody gave this setting a value that it does not take."""
        return path in self._wrong

    def say(self, line: str, *, explicit: bool = False) -> None:
        """Anything else that is wrong."""
        if explicit:
            raise ConfigError(_printable(line))
        self._entries.append((_printable(line), None))

    def unknown(self, name: str, key: str, known: Iterable[str], *, explicit: bool = False) -> None:
        """A setting that does not exist; its value is not shown, as the name may be a secret's, mistyped."""
        self.say(f"{name}: no such setting; {nearest(key, known)}", explicit=explicit)

    def lines(self, final: Callable[[Path], Any]) -> tuple[str, ...]:
        """One line for each finding, in the order they were found."""
        told = self._entries[:_MAX_LINES]
        lines = [
            line if given is None else f"{line}; {_using(final(given.path), given)}" for line, given in told
        ]
        if len(self._entries) > len(told):
            lines.append(f"{len(self._entries) - len(told)} more settings are wrong; correct these first")
        return tuple(lines)


def _printable(line: str) -> str:
    """One line, whatever keys and names of variables hold."""
    return (
        line
        if line.isprintable()
        else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
    )


def _using(value: Any, given: Given) -> str:
    if value is None or value in ("", ()):
        return "treated as not set"
    return f"using {shown(value if given.scale == 1 else value * given.scale, secret=given.secret)}"


def nearest(key: str, known: Iterable[str]) -> str:
    """The remedy for an unknown key: the nearest known one, or all of them."""
    from difflib import get_close_matches  # for who has mistyped something

    names = sorted(known)
    close = get_close_matches(key[:64], names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"


def setting_name(path: Path) -> str:
    """The name of a setting as a reader of the file knows it: `[metrics.budgets] route`."""
    return f"{table_name(path[:-1])} {_key(path[-1])}"


def table_name(path: Path) -> str:
    """The name of a table: `[metrics.budgets]`."""
    return f"[{'.'.join(each if each in _NESTED else _key(each) for each in path)}]"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key[:64])
