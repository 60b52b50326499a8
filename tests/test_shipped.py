"""What is shipped: the lock file of the image, its bill of materials, and what is said of vulnerabilities."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# From Python 3.11 on; what is shipped does not hang on the version.
tomllib = pytest.importorskip("tomllib")
packaging_requirements = pytest.importorskip("packaging.requirements")
packaging_utils = pytest.importorskip("packaging.utils")

Requirement, canonical = packaging_requirements.Requirement, packaging_utils.canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ["requirements-image.txt", "requirements-build.txt"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = [
    each.rpartition(" ")[2] for each in PROJECT["project"]["classifiers"] if re.search(r"3\.\d+$", each)
]
SYSTEMS = [("linux", "Linux"), ("darwin", "Darwin"), ("win32", "Windows")]


def script(name: str) -> Any:
    """A module of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(python: str, system: tuple[str, str]) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": system[0],
        "platform_system": system[1],
        "extra": "",
    }


def entries(lock: str) -> list[tuple[Any, list[str]]]:
    """The requirements of a lock file, and the hashes of each."""
    text = re.sub(r"\\\n", "", re.sub(r"(?m)^\s*#.*\n", "", (ROOT / lock).read_text()))
    found = []
    for line in text.splitlines():
        requirement, *hashes = line.split("--hash=")
        found.append((Requirement(requirement.strip()), [each.strip() for each in hashes]))
    return found


def asked(extra: str) -> Iterator[Any]:
    """What the project and an extra ask for, those that the extra takes in included."""
    optional = PROJECT["project"]["optional-dependencies"]
    for text in (*PROJECT["project"]["dependencies"], *optional[extra]):
        requirement = Requirement(text)
        if canonical(requirement.name) == "bext-otel":
            for other in requirement.extras:
                yield from asked(other)
        else:
            yield requirement


# --- The lock file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_one_version_with_hashes(lock: str) -> None:
    locked = entries(lock)
    assert locked
    assert [] == [str(each) for each, _ in locked if not re.fullmatch(r"==[^*,]+", str(each.specifier))]
    assert [] == [
        str(each)
        for each, hashes in locked
        if not hashes or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes)
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_registry_and_no_folder(lock: str) -> None:
    assert [] == re.findall(
        r"^(?:-.*|.*(?:https?:|file:|@ ).*|.*/\w.*)$", (ROOT / lock).read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system[0])
def test_the_lock_file_satisfies_the_demo_everywhere(python: str, system: tuple[str, str]) -> None:
    where = environment(python, system)
    versions = {
        canonical(each.name): str(each.specifier).removeprefix("==")
        for each, _ in entries("requirements-image.txt")
        if each.marker is None or each.marker.evaluate(where)
    }
    wanted = [each for each in asked("demo") if each.marker is None or each.marker.evaluate(where)]
    assert wanted
    assert [] == [
        str(each)
        for each in wanted
        if not each.specifier.contains(versions.get(canonical(each.name), "0"), prereleases=True)
    ]


def test_the_lock_file_satisfies_the_build() -> None:
    versions = {canonical(each.name): each for each, _ in entries("requirements-build.txt")}
    for text in PROJECT["build-system"]["requires"]:
        requirement = Requirement(text)
        locked = str(versions[canonical(requirement.name)].specifier).removeprefix("==")
        assert requirement.specifier.contains(locked)


def test_every_dependency_of_ours_has_a_lower_bound() -> None:
    groups = {**PROJECT["project"]["optional-dependencies"], "": PROJECT["project"]["dependencies"]}
    requirements = [Requirement(each) for name, group in groups.items() if name != "dev" for each in group]
    assert [] == [
        str(each)
        for each in requirements
        if canonical(each.name) != "bext-otel"
        and not any(part.operator in (">=", "==") for part in each.specifier)
    ]


def test_the_image_is_sent_all_that_it_is_built_from() -> None:
    """`.dockerignore` holds everything back that it does not name."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()} - {"."}
    assert set(LOCKS) <= sources <= sent
    build = {"pyproject.toml", "README.md", "LICENSE", "bext_otel", "instrumentors"}
    assert build <= sent
    assert [] == [path for path in sent if not (ROOT / path).exists()]


# --- The bill of materials ----------------------------------------------------------------------------------


def test_the_bill_of_materials_lists_every_locked_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cyclonedx_py")
    sbom = script("sbom")
    monkeypatch.setattr(sbom, "SBOM", ROOT / "dist" / f"{tmp_path.name}.cdx.json")
    try:
        assert 0 == sbom.main()
        locked = {(canonical(each.name), str(each.specifier)[2:]) for each, _ in entries(LOCKS[0])}
        assert locked == sbom.listed(sbom.SBOM)
        # One that is not listed is said.
        capsys.readouterr()
        monkeypatch.setattr(sbom.subprocess, "run", lambda *command, **options: None)
        monkeypatch.setattr(sbom, "listed", lambda path: locked - {("flask", dict(locked)["flask"])})
        assert 1 == sbom.main()
        assert "flask" in capsys.readouterr().out
    finally:
        sbom.SBOM.unlink(missing_ok=True)


# --- Known vulnerabilities ----------------------------------------------------------------------------------


@pytest.fixture
def audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str, str], tuple[int, str]]:
    """Exit code and output of scripts/audit.py, where pip-audit says this on standard output and error."""

    def run(output: str, error: str) -> tuple[int, str]:
        program = tmp_path / "pip-audit"
        lines = [
            f"#!{sys.executable}",
            "import sys",
            f"sys.stdout.write({output!r})",
            f"sys.stderr.write({error!r})",
        ]
        program.write_text("\n".join([*lines, "sys.exit(1)"]))
        program.chmod(0o755)
        code = script("audit").main(str(program))
        return code, capsys.readouterr().out

    return run


SAFE = {"name": "flask", "version": "3.1.3", "vulns": []}
UNSAFE = {
    "name": "jinja2",
    "version": "3.1.5",
    "vulns": [{"id": "CVE-2025-27516", "fix_versions": ["3.1.6"]}],
}
UNKNOWN = {"name": "click", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def test_a_known_vulnerability_fails_and_is_named_with_its_remedy(
    audit: Callable[[str, str], tuple[int, str]],
) -> None:
    code, said = audit(json.dumps({"dependencies": [SAFE, UNSAFE, UNKNOWN], "fixes": []}), "")
    assert 1 == code
    assert "jinja2 3.1.5: CVE-2025-27516, fixed in 3.1.6" in said
    assert "1 known vulnerabilities in 2 of 3 packages" in said


def test_no_known_vulnerability_passes(audit: Callable[[str, str], tuple[int, str]]) -> None:
    assert (0, "audit: 0 known vulnerabilities in 1 of 1 packages\n") == audit(
        json.dumps({"dependencies": [SAFE]}), ""
    )


@pytest.mark.parametrize(
    ("output", "error", "why"),
    [
        ("", "Traceback\nConnectionError: no such host", "ConnectionError: no such host"),
        ("", "", "no answer"),
        (
            json.dumps({"dependencies": [UNKNOWN]}),
            "No known vulnerabilities found",
            "knows none of 1 packages",
        ),
    ],
)
def test_a_database_that_does_not_answer_is_one_line(
    audit: Callable[[str, str], tuple[int, str]], output: str, error: str, why: str
) -> None:
    """pip-audit itself ends well when the database knows none of the packages."""
    code, said = audit(output, error)
    assert 0 == code
    assert 1 == len(said.splitlines())
    assert "skipped, nothing was looked up" in said
    assert why in said


def test_the_audit_asks_for_what_the_image_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked_for.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    audit = script("audit")
    monkeypatch.setattr(audit.subprocess, "run", run)
    audit.main("pip-audit")
    assert str(ROOT / "requirements-image.txt") in asked_for[0]
    assert "--require-hashes" in asked_for[0]
