"""What there is to know about an application, to start it and to say what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.applications.normalising import Rule
from tests.applications.wire import Conversation, Request


@dataclass(frozen=True)
class Application:
    """An application as its users start it, in an environment of its name (or of that which it names).

    In commands, `{port}` is its port and `{folder}` the folder that it runs in, which has its `files` and what `setup`
    made there, once. `helpers` run beside it. `script` is sent first, in its order; `reads` change nothing and are sent in
    many manners, but `without` some; `conversations` are websockets.

    What is expected: that each request has its span, its count and its line; `routes`, the templates that are shown
    then; `work`, how many other spans there are of some names. Lines with `noise` are chance, and nobody compares
    them. `commanded`: what is done besides requests belongs to the command that serves, whose span ends with it.

    What stands in `besides` (what is printed that the bare one does not print) is not what shall be: it says what holds
    today.
    """

    name: str
    command: str
    reads: Sequence[Request]
    script: Sequence[Request] = ()
    conversations: Sequence[Conversation] = ()
    without: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = ()
    host: str = "localhost:{port}"
    helpers: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    commanded: bool = False
    routes: frozenset[str] = frozenset()
    work: Mapping[str, int] = field(default_factory=dict)
    noise: str = ""
    besides: frozenset[str] = frozenset()
