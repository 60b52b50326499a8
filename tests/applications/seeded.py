"""Seeded lists of requests: what an application's users send, in every manner in which clients send it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from tests.applications.application import Application
from tests.applications.wire import Conversation, Request, Visit

_REQUESTS = 145
LEFT = "left=1"

Manner = Callable[[Random, Sequence[Request]], Visit]


def get(target: str, **headers: str) -> Request:
    """A GET; underscores in a header's name are hyphens."""
    return ask("GET", target, **headers)


def ask(method: str, target: str, body: bytes | tuple[bytes, ...] = b"", **headers: str) -> Request:
    """A request; underscores in a header's name are hyphens."""
    return Request(
        method, target, tuple((name.replace("_", "-"), value) for name, value in headers.items()), body
    )


def everything(application: Application) -> tuple[list[Visit], list[Conversation]]:
    """Some 150 requests and the conversations, all numbered.

    First the script, in its order, then what is read in the manners of clients, which the application's name seeds; at the end
    requests that are no more than read, so that there is something left to tell when the application ends.
    """
    random = Random(application.name)
    manners = [manner for name, manner in MANNERS.items() if name not in application.without]
    found = [Visit((request,)) for request in application.script]
    while sum(len(visit.requests) for visit in found) < _REQUESTS:
        found += [manner(random, application.reads) for manner in random.sample(manners, len(manners))]
    found += [_plain(random, application.reads) for _ in range(3)]
    conversations = [replace(each, number=number) for number, each in enumerate(application.conversations)]
    return _numbered(found, len(conversations)), conversations


def _numbered(found: Sequence[Visit], number: int) -> list[Visit]:
    """Their requests numbered from there on."""
    result = []
    for visit in found:
        result.append(visit.numbered(number))
        number += len(visit.requests)
    return result


def _plain(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit((random.choice(reads),))


def _old(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit((replace(random.choice(reads), version="1.0"),))


def _head(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit((replace(random.choice(reads), method="HEAD"),))


def _options(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit((replace(random.choice(reads), method="OPTIONS"),))


def _range(random: Random, reads: Sequence[Request]) -> Visit:
    start = random.randrange(40)
    request = random.choice(reads)
    return Visit((replace(request, headers=(*request.headers, ("Range", f"bytes={start}-{start + 30}"))),))


def _unknown(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit((get(f"/no/such/{random.randrange(10**9)}"),))


def _strange(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit(
        (
            get(
                random.choice(
                    ("/%00%ff", "/a%2fb/..%2f", "/%E2%82%AC?x=%zz&&=", "//twice//", "/?" + "q" * 300)
                )
            ),
        )
    )


def _left(request: Request) -> Request:
    """Marked in its query, since a server may log it or not, as the client is quicker or slower."""
    return replace(request, target=f"{request.target}{'&' if '?' in request.target else '?'}{LEFT}")


def _hang_up_at_once(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit((_left(random.choice(reads)),), reads="nothing")


def _hang_up_early(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit((_left(random.choice(reads)),), reads="first")


def _pipelined(random: Random, reads: Sequence[Request]) -> Visit:
    return Visit(tuple(random.choice(reads) for _ in range(random.randint(2, 4))))


def _upload(random: Random, reads: Sequence[Request]) -> Visit:
    request = random.choice(reads)
    return Visit((replace(request, method="POST", body=random.randbytes(random.randrange(1, 100_000))),))


def _upload_in_chunks(random: Random, reads: Sequence[Request]) -> Visit:
    chunks = tuple(random.randbytes(random.randrange(1, 20_000)) for _ in range(random.randint(1, 4)))
    return Visit((replace(random.choice(reads), method="POST", body=chunks),))


MANNERS: dict[str, Manner] = {
    "plain": _plain,
    "plain again": _plain,
    "old": _old,
    "head": _head,
    "options": _options,
    "range": _range,
    "unknown": _unknown,
    "strange": _strange,
    "hang-up at once": _hang_up_at_once,
    "hang-up early": _hang_up_early,
    "pipelined": _pipelined,
    "upload": _upload,
    "chunks": _upload_in_chunks,
}
