from __future__ import annotations

from bext_otel.endpoints.taken_port import RETRY_SECONDS, TakenPort


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_is_told_only_once_it_lasts() -> None:
    told: list[tuple[str, str]] = []
    clock = Clock()
    taken = TakenPort("127.0.0.1", 9464, lambda *line: told.append(line), clock=clock)
    assert taken.again("taken", "another program holds it") < 1
    clock.now += 1
    assert taken.again("taken", "another program holds it") < 1
    assert [] == told
    clock.now += 1
    assert RETRY_SECONDS == taken.again("taken", "another program holds it")
    [(about, line)] = told
    assert "taken" == about
    assert line.startswith(
        "the endpoints wait for 127.0.0.1:9464: another program holds it; set OTEL_EXPORTER_"
    )


def test_it_begins_anew_when_it_was_over() -> None:
    told: list[tuple[str, str]] = []
    clock = Clock()
    taken = TakenPort("::1", 9464, lambda *line: told.append(line), clock=clock)
    taken.again("taken", "")
    clock.now += 60
    taken.over()
    taken.again("taken", "")
    assert ([], "[::1]:9464") == (told, taken.address)


def test_looking_who_has_it_becomes_seldom() -> None:
    taken = TakenPort("127.0.0.1", 9464, lambda *_: None, clock=Clock())
    looked = []
    for _ in range(100):
        looked.append(taken.is_worth_a_look)
        taken.again("taken", "")
    assert all(looked[:20])
    assert 16 == sum(looked[20:])


def test_what_the_system_refuses_or_fails_is_told_at_once() -> None:
    told: list[tuple[str, str]] = []
    taken = TakenPort("192.0.2.1", 9464, lambda *line: told.append(line))
    taken.is_refused("Cannot assign requested address")
    taken.failed(RuntimeError("x"))
    assert ["address", "failed"] == [about for about, _ in told]
    assert "192.0.2.1:9464 (Cannot assign requested address); set OTEL_EXPORTER_PROMETHEUS_HOST" in told[0][1]
