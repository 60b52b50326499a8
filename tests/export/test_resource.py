"""The resource says who speaks, and nothing secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bext_otel.export.resource import architecture, build_resource, container_id

ID = "3f" * 32


def test_it_names_the_service_the_distribution_the_process_and_the_host() -> None:
    attributes = build_resource(service_name="shop").attributes
    assert "shop" == attributes["service.name"]
    assert "bext-otel" == attributes["telemetry.distro.name"]
    assert {"telemetry.distro.version", "telemetry.sdk.version", "host.name", "service.instance.id"} <= set(
        attributes
    )
    assert os.getpid() == attributes["process.pid"]


def test_the_processs_arguments_are_left_out() -> None:
    """They may hold a password."""
    assert not {name for name in build_resource().attributes if "command" in name}


def test_the_standard_variables_come_before_what_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "named")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,host.name=web-1")
    attributes = build_resource().attributes
    assert "web-1" == attributes["host.name"]
    assert ("named", "prod") == (attributes["service.name"], attributes["deployment.environment.name"])


def test_attributes_given_in_code_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=1")
    assert "2" == build_resource(attributes={"service.version": "2"}).attributes["service.version"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cgroup", f"12:memory:/docker/{ID}\n"),
        ("cgroup", f"0::/system.slice/docker-{ID}.scope\n"),
        ("cgroup", f"1:name=systemd:/kubepods/besteffort/pod1/{ID}\n"),
        (
            "mountinfo",
            f"600 599 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n",
        ),
    ],
)
def test_a_container_is_recognised(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert ID == container_id(tmp_path)


@pytest.mark.parametrize("text", ["0::/user.slice\n", "", f"599 8:1 /overlay2/{ID}/diff / rw\n"])
def test_outside_of_a_container_there_is_no_id(tmp_path: Path, text: str) -> None:
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mountinfo").write_text(text)
    assert container_id(tmp_path) is None


def test_a_hidden_proc_is_no_error(tmp_path: Path) -> None:
    assert container_id(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("machine", "shown"),
    [
        ("x86_64", "amd64"),
        ("AMD64", "amd64"),
        ("aarch64", "arm64"),
        ("arm64", "arm64"),
        ("armv7l", "arm32"),
        ("i686", "x86"),
        ("ppc64le", "ppc64"),
        ("s390x", "s390x"),
        ("riscv64", "riscv64"),
        ("", ""),
    ],
)
def test_the_architecture_is_named_as_the_conventions_do(machine: str, shown: str) -> None:
    assert shown == architecture(machine)


def test_secrets_in_the_variable_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES", "deploy.token=hunter2,team=shop,url=https%3A%2F%2Fu%3Ahunter2%40x%2F"
    )
    found = build_resource().attributes
    assert ("REDACTED[name]", "shop") == (found["deploy.token"], found["team"])
    assert "hunter2" not in str(dict(found))
