"""Route templates of what is routed by regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel_instrumentors.http.patterns import template_of


@pytest.mark.parametrize(
    ("pattern", "template"),
    [
        ("/plain", "/plain"),
        (r"^/plain\.ico$", "/plain.ico"),
        (r"/(\.(?P<format>jsono?))?$", "/"),
        (r"/(?P<database>[^\/\.]+)\.db$", "/{database}.db"),
        (r"/(?P<database>[^\/\.]+)/(?P<table>[^/]+?)(\.(?P<format>\w+))?$", "/{database}/{table}"),
        (r"/-/static/(?P<path>.*)$", "/-/static/{path}"),
        (r"/(?P<year>\d{4})/(?:(?P<slug>[()\]]+))", "/{year}/{slug}"),
        (r"/(?P<last>[^)]+)?", "/{last}"),
        (r"/(en|de)/(?P<page>\w+)", "/(en|de)/{page}"),
        (r"/a(?=b)b(?!c)(?<!x)", "/ab"),
        (r"/(?P<open>", "/{open}"),
        ("/\\", "/\\"),
    ],
)
def test_a_group_with_a_name_is_a_parameter(pattern: str, template: str) -> None:
    assert template == template_of(pattern)


@given(st.text(alphabet="ab/.()[]^$?*+|\\<>P=:", max_size=30))
def test_whatever_the_pattern_there_is_a_template(pattern: str) -> None:
    assert isinstance(template_of(pattern), str)


@given(st.lists(st.from_regex(r"[a-z.]{1,5}", fullmatch=True), min_size=1, max_size=5))
def test_a_plain_path_is_its_own_template(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    assert path == template_of(f"^{re.escape(path)}$")
