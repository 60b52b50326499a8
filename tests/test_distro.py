"""The composition root's two doors: what they do, refuse and leave alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bext_otel.distro import BextDistro
from tests.fresh import fresh


def test_configuring_twice_is_configuring_once(tmp_path: Path) -> None:
    shown, lines = fresh(
        """
        import bext_otel
        first = bext_otel.configure(telemetry={"service_name": "shop"})
        second = bext_otel.configure(telemetry={"service_name": "other"})
        third = bext_otel.configure()
        show([first is second is third is bext_otel.running(), first.config.telemetry.service_name])
        """,
        tmp_path,
    )
    assert [True, "shop"] == shown
    (line,) = lines
    assert ("warn", "bext_otel") == (line["level"], line["target"])
    assert "these settings are ignored" in line["message"]


def test_upstreams_sdk_is_imported_after_its_variables_are_corrected(tmp_path: Path) -> None:
    """It reads some of them at its import, where it raises for what it does not take, and detects resources
    in threads."""
    shown, (line,) = fresh(
        """
        import sys
        import bext_otel.distro
        early = [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
        bext_otel.configure()
        show([early, bext_otel.running() is not None])
        """,
        tmp_path,
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="many",
    )
    assert [[], True] == shown
    assert line["message"].startswith("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=")


def test_a_wrong_setting_in_code_raises_and_sets_nothing_up(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        from bext_otel.errors import ConfigError
        told = []
        for wrong in (
            {"metrics": {"port": "many"}},
            {"metrics": {"prot": 1}},
            {"telemetry": {"otlp_endpoint": "collector 4318"}},
            {"telemetry": {"app_resolver": "no_such_module:resolve"}},
        ):
            try:
                bext_otel.configure(**wrong)
            except ConfigError as error:
                told.append(str(error))
        show([told, bext_otel.running() is None])
        """,
        tmp_path,
    )
    told, nothing = shown
    assert nothing
    assert 4 == len(told)
    for part, line in zip(
        ("port", "did you mean port?", "otlp_endpoint", "no_such_module:resolve"), told, strict=True
    ):
        assert part in line


def test_code_comes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text(
        "[health]\ntimeout_seconds = 1\ninterval_seconds = 1\ndisk_min_free_mb = 1\n"
    )
    shown, lines = fresh(
        """
        import bext_otel
        health = bext_otel.configure(health={"timeout_seconds": 3}).config.health
        show([health.timeout_seconds, health.interval_seconds, health.disk_min_free_mb])
        """,
        tmp_path,
        BEXT_HEALTH_TIMEOUT_SECONDS="2",
        BEXT_HEALTH_INTERVAL_SECONDS="2",
    )
    assert [3, 2, 1] == shown
    assert [] == lines


def test_a_provider_that_the_application_has_set_stays(tmp_path: Path) -> None:
    shown, lines = fresh(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        own = TracerProvider()
        trace.set_tracer_provider(own)
        import bext_otel
        bext_otel.configure()
        show(trace.get_tracer_provider() is own)
        """,
        tmp_path,
    )
    assert shown
    (line,) = lines
    assert "its own provider for traces" in line["message"]


def test_the_configurator_never_raises(tmp_path: Path) -> None:
    """Here because the disk holds a resolver that fails as it is imported, in a way that nobody foresees."""
    (tmp_path / "resolving.py").write_text(
        "class Odd(BaseException): pass\nraise RuntimeError('no licence')\n"
    )
    shown, lines = fresh(
        """
        import sys
        sys.path.insert(0, "")
        from bext_otel.distro import BextConfigurator, running
        BextConfigurator().configure()
        show(running() is not None)
        """,
        tmp_path,
        BEXT_TELEMETRY_APP_RESOLVER="resolving:app_of",
    )
    assert shown, "only the resolver is missing"
    (line,) = lines
    assert "resolving:app_of" in line["message"]


def test_an_instrumentor_that_fails_keeps_nobody_else_from_being_loaded(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "from opentelemetry.instrumentation.instrumentor import BaseInstrumentor\n"
        "class Plain:\n"
        "    needs, asked = (), []\n"
        "    def instrumentation_dependencies(self): return self.needs\n"
        "    def _instrument(self, **kwargs): self.asked.append(sorted(kwargs))\n"
        "    def _uninstrument(self, **kwargs): pass\n"
        "class Good(Plain, BaseInstrumentor): pass\n"
        "class Ours(Plain, BaseInstrumentor): pass\n"
        "class Needy(Plain, BaseInstrumentor): needs = ('no-such-library >= 3',)\n"
        "class Odd(Plain, BaseInstrumentor):\n"
        "    def _instrument(self, **kwargs): raise KeyError('table')\n"
    )
    shown, lines = fresh(
        """
        import sys
        sys.path.insert(0, "")
        from importlib.metadata import EntryPoint
        import odd
        from bext_otel.distro import BextConfigurator, BextDistro
        distro = BextDistro()
        distro.configure()
        BextConfigurator().configure()
        outcomes = []
        for name, value in [("odd", "odd:Odd"), ("needy", "odd:Needy"), ("gone", "no_such_module:X"), ("flask", "odd:Good"),
                            ("threading", "odd:Good"), ("good", "odd:Good"), ("bext_good", "odd:Ours"), ("bext_needy", "odd:Needy")]:
            try:
                distro.load_instrumentor(EntryPoint(name, value, "opentelemetry_instrumentor"), skip_dep_check=True)
                outcomes.append("")
            except Exception as error:
                outcomes.append(type(error).__name__)
        show([outcomes, odd.Plain.asked])
        """,
        tmp_path,
    )
    outcomes, asked = shown
    # The loader skips those that raise what it knows, and says so; of ours that need what is not there,
    # nobody hears.
    assert ["", "DependencyConflictError", "ModuleNotFoundError", "", "", "", "", ""] == outcomes
    assert 2 == len(asked), "upstream's own for Flask and for threads are left out"
    assert {"disabled", "on_serving"} <= set(asked[1])
    assert not {"disabled", "on_serving"} & set(asked[0])
    (line,) = lines
    assert "instrumentation odd is left out: KeyError: 'table'" == line["message"]


def test_a_library_in_a_version_that_ours_is_not_for_is_one_line(tmp_path: Path) -> None:
    """The launcher's own way, with the metadata of a version in front that nobody has any more."""
    metadata = tmp_path / "cachetools-4.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: cachetools\nVersion: 4.0\n")
    code = """
        import sys
        sys.path.insert(0, "")
        from importlib.metadata import version
        from opentelemetry.instrumentation.auto_instrumentation import initialize
        initialize()
        import cachetools
        show(version("cachetools"))
        """
    env = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    shown, lines = fresh(code, tmp_path, **env)
    assert "4.0" == shown
    (line,) = lines
    assert ("warn", "bext_otel") == (line["level"], line["target"])
    assert (
        "instrumentation bext_cachetools is left out: it is for cachetools >= 5.5, and cachetools 4.0 is "
        "installed" == line["message"]
    )


def test_a_library_in_a_version_that_upstream_s_is_not_for_is_one_line_once_it_is_used(
    tmp_path: Path,
) -> None:
    """Requirements are looked at when the library is imported, and cost a program nothing that does not."""
    metadata = tmp_path / "httpx-0.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: httpx\nVersion: 0.1\n")
    code = """
        import sys
        sys.path.insert(0, "")
        from opentelemetry.instrumentation.auto_instrumentation import _load, initialize
        asked = []
        _load.get_dist_dependency_conflicts = lambda found: asked.append(found.name)
        initialize()
        import httpx
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
        show([HTTPXClientInstrumentor().is_instrumented_by_opentelemetry, asked])
        """
    env = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    shown, lines = fresh(code, tmp_path, **env)
    assert [False, []] == shown
    (line,) = lines
    assert ("warn", "bext_otel") == (line["level"], line["target"])
    assert line["message"].startswith("instrumentation httpx is left out: ")
    assert "httpx 0.1" in line["message"]


@pytest.mark.parametrize(
    ("call", "instrumented"),
    [
        ("bext_otel.configure()", [True, True, True]),
        ("bext_otel.blueprint()", [True, True, True]),
        ("bext_otel.configure(instrument=False)", [False, False, False]),
        ("BextConfigurator().configure()", [False, False, False]),
    ],
)
def test_code_instruments_what_the_launcher_would_unless_it_says_no(
    tmp_path: Path, call: str, instrumented: list[bool]
) -> None:
    """The configurator leaves it to the launcher, which comes to it next."""
    shown, lines = fresh(
        f"""
        import bext_otel
        from bext_otel.distro import BextConfigurator
        {call}
        import flask, starlette
        from bext_otel_instrumentors.http.flask import FlaskInstrumentor
        from bext_otel_instrumentors.isolates.futures import FuturesInstrumentor
        from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
        ours = FlaskInstrumentor, FuturesInstrumentor, StarletteInstrumentor
        show([each().is_instrumented_by_opentelemetry for each in ours])
        """,
        tmp_path,
    )
    assert instrumented == shown
    assert [] == lines


@pytest.mark.parametrize(
    ("disabled", "instrumented"),
    [
        ("flask, requests", [False, True]),
        ("bext_flask", [False, True]),
        ("starlette", [True, True]),
        ("starlette,fastapi", [True, False]),
        ("*", [False, False]),
    ],
)
def test_an_instrumentation_is_turned_off_by_upstreams_name_too(
    tmp_path: Path, disabled: str, instrumented: list[bool]
) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        bext_otel.configure()
        import flask, starlette
        from bext_otel_instrumentors.http.flask import FlaskInstrumentor
        from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
        show([each().is_instrumented_by_opentelemetry for each in (FlaskInstrumentor, StarletteInstrumentor)])
        """,
        tmp_path,
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled,
    )
    assert instrumented == shown


def test_importing_the_package_costs_neither_sdk_nor_flask(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import sys
        import bext_otel
        bext_otel.catalogue, bext_otel.operation
        known = ("opentelemetry.sdk", "flask", "waitress", "structlog", "grpc", "requests")
        show(sorted({name for name in known if name in sys.modules}))
        """,
        tmp_path,
    )
    assert [] == shown


def test_the_public_surface_is_a_list(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        missing = [name for name in bext_otel.__all__ if getattr(bext_otel, name, None) is None]
        try:
            bext_otel.no_such_name
        except AttributeError as error:
            show([missing, str(error)])
        """,
        tmp_path,
    )
    assert [[], "module 'bext_otel' has no attribute 'no_such_name'"] == shown


@pytest.mark.parametrize(
    "imports",
    [
        "from bext_otel import operation; from bext_otel.operation import operation as public, count",
        "from bext_otel.operation import operation as public, count; from bext_otel import operation",
        (
            "import bext_otel.operation; from bext_otel.operation import operation as public, count; from "
            "bext_otel import operation"
        ),
        (
            "import bext_otel; operation = bext_otel.operation; from bext_otel.operation import operation as "
            "public, count"
        ),
    ],
)
def test_the_package_holds_functions_one_of_them_beside_a_module_of_its_name(
    tmp_path: Path, imports: str
) -> None:
    shown, _ = fresh(
        f"""
        {imports}
        import bext_otel, pickle
        from bext_otel.catalogue import CACHE_HITS, RENDER
        with operation(RENDER, app="shop") as work:
            count(CACHE_HITS, app="shop", layer="isr")
        same = [each is public for each in (operation, bext_otel.operation, pickle.loads(pickle.dumps(public)))]
        other = [name for name in bext_otel.__all__ if not hasattr(getattr(bext_otel, name), "__code__")]
        show([work.elapsed_ms > 0, same, other])
        """,
        tmp_path,
    )
    assert [True, [True, True, True], []] == shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "http,database"), ({"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}, "http/dup")],
)
def test_outgoing_calls_and_databases_follow_the_stable_conventions_unless_the_operator_decided(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "another")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "")  # so that it is undone
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    BextDistro().configure()
    assert expected == os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"]
