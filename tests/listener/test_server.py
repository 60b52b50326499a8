from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from bext_otel.listener.server import Listener
from tests.listener.serving import HANGS, NOW, Application, client, received, served, status
from tests.waiting import until


def ask(listener: Listener, sent: bytes = NOW) -> int:
    with client(listener, sent) as sock:
        return status(received(sock))


def is_ended(sock: socket.socket) -> bool:
    """Whether the other side has closed the connection; what it has sent before is read."""
    with suppress(ConnectionError):
        while sock.recv(65536):
            pass
    return True


def test_a_request_is_answered_and_the_next_one_over_the_same_connection() -> None:
    with served(Application()) as listener, client(listener) as sock:
        for _ in range(3):
            sock.sendall(NOW)
            answer = received(sock)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nhello")
            assert b"\r\nconnection: keep-alive\r\n" in answer


def test_who_wants_no_further_request_is_left() -> None:
    with served(Application()) as listener:
        for sent in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
            with client(listener, sent) as sock:
                assert 200 == status(received(sock))
                assert is_ended(sock)


def test_requests_sent_at_once_are_answered_in_order() -> None:
    application = Application()
    application.go.set()
    with served(application) as listener, client(listener, (NOW + HANGS) * 20) as sock:
        assert 40 == received(sock, answers=40).count(b"HTTP/1.1 200 OK")
    assert ["/now", "/hangs"] * 20 == [each["PATH_INFO"] for each in application.asked]


def test_a_client_that_sends_no_more_is_answered() -> None:
    with served(Application()) as listener, client(listener, NOW) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert 200 == status(received(sock))


def test_a_head_has_its_time_in_all_and_not_between_two_bytes() -> None:
    with served(Application(), head_seconds=0.4) as listener, client(listener, b"GET /") as sock:
        sock.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + 10
        while not answer and time.monotonic() < deadline:
            with suppress(OSError):
                sock.send(b"a")
            with suppress(TimeoutError):
                answer = sock.recv(4096)
        assert 408 == status(answer)


def test_a_connection_that_says_nothing_is_ended_in_silence() -> None:
    with served(Application(), head_seconds=0.2) as listener, client(listener) as sock:
        assert b"" == sock.recv(1)


def test_a_connection_may_rest_longer_than_a_head_takes_but_not_for_ever() -> None:
    with served(Application(), head_seconds=0.1, idle_seconds=1.0) as listener, client(listener, NOW) as sock:
        assert 200 == status(received(sock))
        time.sleep(0.4)
        sock.sendall(NOW)
        assert 200 == status(received(sock))
        assert b"" == sock.recv(1)


def test_200_clients_that_drip_keep_nobody_from_being_answered() -> None:
    with served(Application()) as listener, ExitStack() as held:
        socks = [held.enter_context(client(listener, b"GET / HTTP/1.1\r\nX: ")) for _ in range(200)]
        for _ in range(10):
            for sock in socks:
                with suppress(OSError):
                    sock.send(b"a")
            assert 200 == ask(listener)


def test_the_oldest_without_a_whole_request_goes_and_who_waits_stays() -> None:
    application = Application()
    with served(application, connections=3) as listener, ExitStack() as held:
        waiting = held.enter_context(client(listener, HANGS))
        until(lambda: application.asked)
        oldest, newer = (held.enter_context(client(listener, b"GET /")) for _ in range(2))
        assert 200 == ask(listener)
        assert is_ended(oldest)
        newer.sendall(b"now HTTP/1.1\r\nHost: x\r\n\r\n")
        assert 200 == status(received(newer))
        application.go.set()
        assert 200 == status(received(waiting))


def test_there_is_room_even_if_everybody_waits() -> None:
    application = Application()
    with served(application, connections=3) as listener, ExitStack() as held:
        for _ in range(3):
            held.enter_context(client(listener, HANGS))
        until(lambda: application.asked)
        assert 200 == ask(listener)
        application.go.set()


def test_nothing_is_made_before_the_last_answer_has_left() -> None:
    application = Application(body=b"x" * 8_000_000)
    with served(application) as listener, client(listener, NOW * 320, receive_buffer=4096) as sock:
        until(lambda: application.asked)
        for _ in range(3):
            assert 200 == ask(listener)
        assert 4 == len(application.asked)
        assert 200 == status(sock.recv(15))


def test_an_answer_that_nobody_takes_is_given_up() -> None:
    application = Application(body=b"x" * 8_000_000)
    with (
        served(application, taking_seconds=0.1, taking_rate=1 << 30) as listener,
        client(listener, NOW * 2, receive_buffer=4096) as sock,
    ):
        until(lambda: application.asked)
        time.sleep(0.5)
        assert len(received(sock)) < len(application.body)
    assert 1 == len(application.asked)


def test_a_quick_answer_does_not_wait_for_one_that_hangs() -> None:
    application = Application()
    with served(application) as listener, client(listener, HANGS) as sock:
        until(lambda: application.asked)
        assert 200 == ask(listener)
        application.go.set()
        assert 200 == status(received(sock))


def test_an_answer_that_is_never_made_is_a_503() -> None:
    application = Application()
    with served(application, making_seconds=0.2) as listener, client(listener, HANGS) as sock:
        assert 503 == status(received(sock))
        assert 200 == ask(listener)
        application.go.set()


def test_what_nobody_waits_for_any_more_is_not_made() -> None:
    application = Application()
    with served(application) as listener:
        with client(listener, HANGS):
            until(lambda: application.asked)
            with client(listener, HANGS.replace(b"/hangs", b"/hangs/left")) as leaving:
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert 200 == ask(listener)
        application.go.set()
        assert 200 == ask(listener, HANGS)
    assert "/hangs/left" not in [each["PATH_INFO"] for each in application.asked]


@pytest.mark.parametrize(
    ("expected", "sent"),
    [
        (400, b"\x00\xff\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000),
        (413, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000),
        (400, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n"),
        (400, b"\r\n" * 100_000),
    ],
)
def test_a_refusal_is_read_by_whoever_still_sends(expected: int, sent: bytes) -> None:
    with served(Application()) as listener, client(listener) as sock:
        with suppress(ConnectionError):
            sock.sendall(sent)
        assert expected == status(received(sock))
        assert is_ended(sock)


def test_a_body_is_handed_on_in_whole() -> None:
    application = Application()
    with served(application, body_bytes=300_000) as listener:
        for fields, body in (
            (b"Content-Length: 200000", b"x" * 200_000),
            (b"Transfer-Encoding: chunked", b"30d40\r\n" + b"x" * 200_000 + b"\r\n0\r\n\r\n"),
        ):
            with client(listener, b"POST /now HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n" + body) as sock:
                assert 200 == status(received(sock))
    assert [b"x" * 200_000] * 2 == [each["body"] for each in application.asked]
    assert ["200000"] * 2 == [each["CONTENT_LENGTH"] for each in application.asked]


def test_who_waits_for_leave_to_send_gets_it() -> None:
    fields = b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with (
        served(Application()) as listener,
        client(listener, b"POST /now HTTP/1.1\r\nHost: x\r\n" + fields) as sock,
    ):
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == sock.recv(4096)
        sock.sendall(b"abc")
        assert 200 == status(received(sock))


@pytest.mark.parametrize("field", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_a_body_has_its_time_in_all(field: bytes) -> None:
    sent = b"POST /now HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\n1"
    with (
        served(Application(), head_seconds=0.1, body_seconds=0.2) as listener,
        client(listener, sent) as sock,
    ):
        assert 408 == status(received(sock))


def test_a_failure_tells_nothing_of_the_inside() -> None:
    with served(Application()) as listener, client(listener, NOW.replace(b"/now", b"/fails")) as sock:
        answer = received(sock)
    assert 500 == status(answer)
    assert b"secret" not in answer


def test_the_port_is_free_while_something_hangs_which_is_given_up_at_the_end() -> None:
    application = Application()
    with ExitStack() as held:
        with served(application) as listener:
            sock = held.enter_context(client(listener, HANGS))
            until(lambda: application.asked)
            listener.release()
            listener.wake()
            until(lambda: is_free(listener.port))
        assert b"" == sock.recv(1)
        application.go.set()


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_the_end_waits_for_an_answer_that_is_about_to_be_made() -> None:
    application = Application()
    with ExitStack() as held:
        with served(application) as listener:
            sock = held.enter_context(client(listener, HANGS))
            until(lambda: application.asked)
            threading.Timer(0.1, application.go.set).start()
        assert 200 == status(received(sock))
        assert is_ended(sock)


def test_a_request_that_is_on_its_way_at_the_end_is_answered() -> None:
    with ExitStack() as held:
        with served(Application()) as listener:
            resting = held.enter_context(client(listener, NOW))
            assert 200 == status(received(resting))
            sock = held.enter_context(client(listener, NOW[:10]))
            assert 200 == ask(listener)  # who came before has been let in
            threading.Timer(0.02, sock.sendall, [NOW[10:]]).start()
        assert b"" == resting.recv(1)
        assert 200 == status(received(sock))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_forgets_it_and_the_parent_goes_on() -> None:
    application = Application()
    with served(application) as listener, client(listener, HANGS) as sock:
        until(lambda: application.asked)
        child = os.fork()
        if not child:
            listener.forget()
            os._exit(0)
        assert 0 == os.waitpid(child, 0)[1]
        assert 200 == ask(listener)
        application.go.set()
        assert 200 == status(received(sock))
