"""What the port's holder asks of an HTTP server, whichever it is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["HTTPServer"]


class HTTPServer(Protocol):
    """Serves on a listening socket that it was given."""

    @property
    def port(self) -> int:
        """Where."""

    def turn(self) -> bool:
        """Serve what there is, waiting some seconds for it; False once the socket was lost."""

    def wake(self) -> None:
        """End a `turn` that waits, from any thread."""

    def release(self) -> None:
        """Close the listening socket, whatever is under way."""

    def close(self) -> None:
        """Accept no more, answer what has been accepted, within a bound, and close the socket."""

    def forget(self) -> None:
        """Close all descriptors, as a forked child has to."""
