"""What the index shows of the project, and what a wheel brings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# From Python 3.11 on; what is published does not hang on the version.
tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HOME = PROJECT["urls"]["Homepage"]


def linked() -> list[str]:
    """Where the README leads: its definitions, and the links that stand in its text."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE) + re.findall(r"\]\(([^)\s]+)\)", text)


def test_every_link_of_the_readme_leads_somewhere_from_the_page_on_the_index() -> None:
    """There is no folder beside it: a path would lead nowhere."""
    assert linked()
    assert [] == [link for link in linked() if not link.startswith("https://")]


def test_what_the_readme_links_in_the_repository_is_there() -> None:
    below = rf"(?:{re.escape(HOME)}/(?:blob|tree)|{re.escape(HOME).replace('github', 'raw.githubusercontent')})/main/"
    paths = [re.sub(below, "", link).partition("#")[0] for link in linked() if re.match(below, link)]
    assert "docs/metrics.md" in paths
    assert [] == [path for path in paths if not (ROOT / path).exists()]


def test_every_name_that_the_readme_refers_to_is_defined() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))
    used = set(re.findall(r"\]\[([^\]]+)\]", text))
    assert used
    assert set() == used - defined


@pytest.mark.parametrize("classifier", PROJECT["classifiers"])
def test_a_classifier_is_one_that_the_index_knows(classifier: str) -> None:
    """It refuses the upload of a package with another."""
    trove = pytest.importorskip("trove_classifiers")
    assert classifier in trove.classifiers


def test_every_python_that_is_supported_is_said_so() -> None:
    """3.10 is the floor."""
    said = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert [f"3.{minor}" for minor in range(10, 16)] == said
    assert ">=3.10" == PROJECT["requires-python"]
