"""A nested mapping, as the file holds it, made into single settings; unknown keys are told with the nearest
known one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bext_otel.config.fields import Field, fields_of, shown
from bext_otel.config.model import ACCESS, NAMED, SECTIONS, SHARED
from bext_otel.config.report import Given, Path, SettingsReport, setting_name, table_name

__all__ = ["flatten"]


def flatten(tree: Mapping[str, Any], report: SettingsReport, *, explicit: bool = False) -> Iterator[Given]:
    """Settings of our sections, in order. Other sections belong to others, but for `explicit` ones: nobody
    else reads those."""
    for section, content in tree.items():
        if section == "apps":
            yield from _named(section, "an app", content, report, explicit)
        elif section == "logging" and isinstance(content, Mapping) and "access" in content:
            rest = {name: value for name, value in content.items() if name != "access"}
            yield from _section((section,), fields_of(SECTIONS[section]), rest, report, explicit)
            yield from _section((ACCESS,), fields_of(SECTIONS[ACCESS]), content["access"], report, explicit)
        elif section == "alerts" and isinstance(content, Mapping):
            tables = {name: f"alerts.{name}" for name in content if f"alerts.{name}" in NAMED}
            rest = {name: value for name, value in content.items() if name not in tables}
            yield from _section((section,), fields_of(SECTIONS[section]), rest, report, explicit)
            for name, table in tables.items():
                yield from _named(table, f"a {name[:-1]}", content[name], report, explicit)
        elif section in SECTIONS and section != ACCESS:
            yield from _section((section,), fields_of(SECTIONS[section]), content, report, explicit)
        elif explicit:
            known = [each for each in (*SECTIONS, "apps") if each != ACCESS]
            report.unknown(table_name((str(section),)), str(section), known, explicit=True)


def _named(table: str, what: str, content: Any, report: SettingsReport, explicit: bool) -> Iterator[Given]:
    """Settings of each table within `table`, by its name."""
    for name, values in _table((table,), content, report, explicit).items():
        if not isinstance(name, str) or not name:
            report.say(
                f"[{table}]: {shown(name)} is no name of {what}; expected a text that is not empty; ignored",
                explicit=explicit,
            )
            continue
        path = (table, name)
        if isinstance(values, (Mapping, msgspec.Struct)):
            yield Given(path, None, table_name(path), explicit)  # it exists, even if nothing is said about it
        yield from _section(path, fields_of(NAMED[table]), values, report, explicit)


def _section(
    path: Path, known: Mapping[str, Field], content: Any, report: SettingsReport, explicit: bool
) -> Iterator[Given]:
    for key, raw in _table(path, content, report, explicit).items():
        here = (*path, str(key))
        field = known.get(key)
        if field is None and not explicit and path[0] in SHARED:
            continue
        if field is None:
            report.unknown(setting_name(here), str(key), known, explicit=explicit)
        elif field.is_table:
            for entry, value in _table(here, raw, report, explicit).items():
                below = (*here, str(entry))
                yield Given(below, value, setting_name(below), explicit)
        else:
            yield Given(here, raw, setting_name(here), explicit, secret=field.secret)


def _table(path: Path, content: Any, report: SettingsReport, explicit: bool) -> Mapping[Any, Any]:
    """`content` as a mapping; empty, with a line, if it is none. A Struct of the model counts as one."""
    if isinstance(content, msgspec.Struct):
        return {
            name: value
            for name, value in msgspec.structs.asdict(content).items()
            if value != getattr(type(content)(), name)
        }
    if isinstance(content, Mapping):
        return content
    # The value is not shown: nobody knows what it was meant to be.
    report.say(
        f"{table_name(path)}: expected a table, not {type(content).__name__}; ignored", explicit=explicit
    )
    return {}
