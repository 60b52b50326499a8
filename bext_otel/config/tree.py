"""A nested mapping, as the file holds it, made into single settings; unknown keys are told with the nearest
known one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bext_otel.config.fields import Field, fields_of, shown
from bext_otel.config.model import ACCESS, APPS, NAMED, SECTIONS, SHARED, AppSettings
from bext_otel.config.report import Given, Path, SettingsReport, setting_name, table_name

__all__ = ["flatten"]


def flatten(tree: Mapping[str, Any], report: SettingsReport, *, explicit: bool = False) -> Iterator[Given]:
    """Settings of our sections, in order. Other sections belong to others, but for `explicit` ones: nobody
    else reads those."""
    for section, content in tree.items():
        if section == APPS:
            yield from _named((section,), AppSettings, content, report, explicit)
        elif section == "logging" and isinstance(content, Mapping) and "access" in content:
            rest = {name: value for name, value in content.items() if name != "access"}
            yield from _section((section,), fields_of(SECTIONS[section]), rest, report, explicit)
            yield from _section((ACCESS,), fields_of(SECTIONS[ACCESS]), content["access"], report, explicit)
        elif section in SECTIONS and section != ACCESS:
            yield from _section((section,), fields_of(SECTIONS[section]), content, report, explicit)
        elif explicit:
            known = [each for each in (*SECTIONS, APPS) if each != ACCESS]
            report.unknown(table_name((str(section),)), str(section), known, explicit=True)


def _named(
    path: Path, struct: type[msgspec.Struct], content: Any, report: SettingsReport, explicit: bool
) -> Iterator[Given]:
    """Tables of settings by names of the user's, such as `[apps.NAME]` and `[health.checks.NAME]`."""
    for name, table in _table(path, content, report, explicit).items():
        if not isinstance(name, str) or not name:
            report.say(
                f"{table_name(path)}: {shown(name)} is no name of {NAMED[path]}; expected a text that is not "
                "empty; ignored",
                explicit=explicit,
            )
            continue
        here = (*path, name)
        if isinstance(table, (Mapping, msgspec.Struct)):
            yield Given(here, None, table_name(here), explicit)  # it exists, even if nothing is said about it
        yield from _section(here, fields_of(struct), table, report, explicit)


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
        elif field.struct is not None and field.is_table:
            yield from _named(here, field.struct, raw, report, explicit)
        elif field.struct is not None:
            yield from _section(here, fields_of(field.struct), raw, report, explicit)
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
