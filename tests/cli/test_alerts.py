"""`bext-otel alerts`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bext_otel.cli.main import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pages(folder: Path, bad: int) -> Path:
    """A quarter of an hour of a shop, of whose requests `bad` of 60 fail from the fifth minute on."""
    lines, good, failed = [], 0, 0
    for at in range(15, 900, 15):
        good, failed = good + 60 - bad * (at > 300), failed + bad * (at > 300)
        lines += [f"# at {at}", "# TYPE bext_requests_total counter"]
        lines += [
            f'bext_requests_total{{app="shop",status="{status}"}} {count}'
            for status, count in ((200, good), (500, failed))
        ]
    file = folder / "pages.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_list_has_the_shipped_rules_and_those_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bext.config.toml").write_text(
        "[alerts.rules.error_ratio]\nenabled = false\n"
        '[alerts.rules.long_queue]\nmetric = "queue"\nlimit = 10\nseverity = "critical"\n'
    )
    main(["alerts", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert ["long_queue", "critical", "threshold", "queue"] in [line.split() for line in lines]
    assert [] == [line for line in lines if line.startswith("error_ratio")]
    assert [line for line in lines if line.startswith("p99_jump")] != []


@pytest.mark.parametrize(("bad", "code", "told"), [(10, 0, "firing"), (1, 1, "")])
def test_test_says_what_fires(
    bad: int, code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["alerts", "test", "error_ratio", "--from", str(pages(tmp_path, bad))])
    assert code == ended.value.code
    assert told in (out := capsys.readouterr().out)
    assert ("app=shop" in out) is bool(told)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["test", "nothing", "--from", "x"], "there is no rule 'nothing'"),
        (["test", "error_ratio"], "--from FILE"),
        (["test", "error_ratio", "--from", "missing.txt"], "missing.txt cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["alerts", *arguments])
    assert 1 == ended.value.code
    assert expected in capsys.readouterr().err
