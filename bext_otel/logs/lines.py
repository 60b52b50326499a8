"""The sinks of lines that `[logging]` asks for: where they go, and in which form."""

from __future__ import annotations

import os
from functools import partial

from bext_otel.config import AccessSettings, LoggingSettings
from bext_otel.export.record import Record
from bext_otel.logs.access import AccessSink, combined_line, only_of_request
from bext_otel.logs.files import NullDevice, RotatingFile
from bext_otel.logs.formats import Format, json_format, pretty_line
from bext_otel.logs.outputs import Output, StandardStream, write_stderr
from bext_otel.logs.people import People, PeopleSink, wants_color
from bext_otel.logs.sinks import LineSink
from bext_otel.logs.terminal import Terminal

__all__ = ["access_sinks", "line_sinks", "prints"]

_KB, _MB = 1024, 1024 * 1024
_NOTHING = (None, b"")


def prints(config: LoggingSettings) -> bool:
    """Do lines go anywhere?"""
    return config.enabled and config.output != "none"


def line_sinks(config: LoggingSettings) -> list[LineSink]:
    """A sink for each output. A file that cannot be written is left out, with one line that says so; where it
    was the only one, lines go to standard output."""
    if not prints(config):
        return []
    outputs: list[Output] = []
    for name in config.output.split(","):
        output = _file(config) if name == "file" else StandardStream(name or "stdout")
        if output is not None:
            outputs.append(output)
    outputs = outputs or [StandardStream("stdout")]
    json = json_format(config.max_line_kb * _KB)
    if len(outputs) > 1:
        json = Shared(json)
    return [_sink(config, output, json) for output in outputs]


def _sink(config: LoggingSettings, output: Output, json: Format) -> LineSink:
    if not isinstance(output, StandardStream):
        return LineSink(_pretty(config, color=False) if config.format == "pretty" else json, output)
    terminal = Terminal(output.name, always=config.output != "")
    isatty = output.isatty()
    if config.format == "json" or not (config.format == "pretty" or isatty):
        return LineSink(json, output, terminal)
    color = wants_color(os.environ, isatty=isatty)
    if not isatty:
        return LineSink(_pretty(config, color=color), output, terminal)
    return PeopleSink(People(json, color=color), output, terminal)


def _pretty(config: LoggingSettings, *, color: bool) -> Format:
    return partial(pretty_line, color=color, max_bytes=config.max_line_kb * _KB)


class Shared:
    """A format whose line serves two sinks, which are given each record one after the other."""

    def __init__(self, line: Format) -> None:
        self._line = line
        self._last: tuple[Record | None, bytes] = _NOTHING

    def __call__(self, record: Record) -> bytes:
        """As the format has it."""
        last, line = self._last
        if last is record:
            # Not to hold on to a request.
            self._last = _NOTHING
            return line
        line = self._line(record)
        self._last = (record, line)
        return line


def access_sinks(config: LoggingSettings, access: AccessSettings, lines: list[LineSink]) -> list[LineSink]:
    """Where entries of requests go that have an output or a format of their own; `lines`, the other sinks,
    leave them to that, if it can be written."""
    if access.output == "none":
        _leave_requests(lines)
        return []
    output, shared = _access_output(access, lines)
    combined = access.format == "combined"
    if output is None or (shared is not None and not combined):
        return []
    terminal = None
    if isinstance(output, StandardStream):
        terminal = shared.terminal if shared is not None else Terminal(output.name, always=True)
    # One that failed is told among other lines too; in the same output once, in the access log's form.
    _leave_requests(lines)
    if combined:
        form: Format = combined_line
    elif config.format == "pretty":
        form = _pretty(config, color=False)
    else:
        form = json_format(config.max_line_kb * _KB)
    return [AccessSink(form, output, terminal)]


def _leave_requests(lines: list[LineSink]) -> None:
    for sink in lines:
        sink.leaves = only_of_request


def _access_output(access: AccessSettings, lines: list[LineSink]) -> tuple[Output | None, LineSink | None]:
    """The output of the access log, and who of `lines` has it too; that of the first of them where none is
    named, or where a file cannot be written."""
    output: Output | None = None
    if access.output == "file":
        try:
            output = _opened(access, access.path)
        except OSError as exc:
            write_stderr(
                f"[logging.access] path = {access.path!r}: {exc.strerror or exc}; give a path that can be "
                "written. Requests are told among other lines"
            )
    elif access.output:
        same = next((sink for sink in lines if sink.output.name == access.output), None)
        return (StandardStream(access.output) if same is None else same.output), same
    if output is not None:
        return output, None
    first = lines[0] if lines else None
    return (None if first is None else first.output), first


def _file(config: LoggingSettings) -> Output | None:
    try:
        return _opened(config, config.file_path)
    except OSError as exc:
        instead = "to stdout" if config.output == "file" else f"to {config.output.partition(',')[0]} only"
        write_stderr(
            f"[logging] file_path = {config.file_path!r}: {exc.strerror or exc}; give a path that can be "
            f"written. Log lines go {instead}"
        )
        return None


def _opened(config: LoggingSettings | AccessSettings, path: str) -> Output:
    """Raises OSError where it cannot be written."""
    if os.path.normpath(path) == os.devnull:
        # A file to rotate it is not, nor anything that another user could have put there.
        return NullDevice(path)
    file = RotatingFile(
        path,
        max_bytes=config.rotate_max_size_mb * _MB if config.rotate else 0,
        when=config.rotate_when,
        keep=config.rotate_max_files,
        max_days=config.rotate_max_days,
        compress=config.rotate_compress,
    )
    file.open()
    return file
