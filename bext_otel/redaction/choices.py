"""Whether a regular expression leaves its engine a choice.

Where each character tells which part of the pattern it belongs to (the pattern is "one-unambiguous":
Brueggemann-Klein and Wood 1998), an engine that tries and goes back has nothing to go back for, and takes as
many steps from each place as there are characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bext_otel._compat import parse_pattern

__all__ = ["leaves_no_choice"]

# ASCII, and one that stands for all others.
_OTHER = 128
_ALL = frozenset(range(_OTHER + 1))
_DIGITS = frozenset({*range(48, 58), _OTHER})
_SPACES = frozenset({*range(9, 14), *range(28, 33), _OTHER})
_WORDS = frozenset({*range(48, 58), *range(65, 91), 95, *range(97, 123), _OTHER})
_CATEGORIES = {"DIGIT": _DIGITS, "SPACE": _SPACES, "WORD": _WORDS}
_MAX_POSITIONS = 600
_MAX_WIDTH = 1024


class _UnknownError(Exception):
    """There are two ways, or something that this does not judge."""


class _Part(NamedTuple):
    """A part of a pattern: the places where it may begin and end, and whether it may be empty."""

    first: frozenset[int]
    last: frozenset[int]
    empty: bool


class _Places:
    """The characters of a pattern, and which may follow which (Glushkov's automaton)."""

    def __init__(self) -> None:
        self.sets: list[frozenset[int]] = []
        self.follow: list[set[int]] = []

    def add(self, characters: frozenset[int]) -> _Part:
        if len(self.sets) >= _MAX_POSITIONS:
            raise _UnknownError
        place = len(self.sets)
        self.sets.append(characters)
        self.follow.append(set())
        return _Part(frozenset({place}), frozenset({place}), empty=False)

    def joined(self, one: _Part, other: _Part) -> _Part:
        self.follows(one.last, other.first)
        return _Part(
            one.first | other.first if one.empty else one.first,
            one.last | other.last if other.empty else other.last,
            one.empty and other.empty,
        )

    def follows(self, last: Iterable[int], first: frozenset[int]) -> None:
        for place in last:
            if not self.follow[place].isdisjoint(first):
                raise _UnknownError  # there are two ways from here to there, as in (a*)*
            self.follow[place] |= first

    def are_distinct(self, places: Iterable[int]) -> bool:
        seen: set[int] = set()
        for place in places:
            if not seen.isdisjoint(self.sets[place]):
                return False
            seen |= self.sets[place]
        return True

    def sequence(self, nodes: Sequence[Any]) -> _Part:
        made = _Part(frozenset(), frozenset(), empty=True)
        for kind, given in nodes:
            made = self.joined(made, self.part(str(kind), given))
        return made

    def part(self, kind: str, given: Any) -> _Part:
        if kind == "AT":
            return _Part(frozenset(), frozenset(), empty=True)
        if kind == "SUBPATTERN":
            return self.sequence(given[3])
        if kind == "BRANCH":
            parts = [self.sequence(each) for each in given[1]]
            if sum(each.empty for each in parts) > 1:
                raise _UnknownError
            return _Part(
                frozenset().union(*(each.first for each in parts)),
                frozenset().union(*(each.last for each in parts)),
                any(each.empty for each in parts),
            )
        if kind in {"MAX_REPEAT", "MIN_REPEAT"}:
            return self.repeated(*given)
        return self.add(_characters(kind, given))

    def repeated(self, least: int, most: int, nodes: Sequence[Any]) -> _Part:
        if least != most and _Places().sequence(nodes).empty:
            raise _UnknownError  # it is there, or it is not, and both are the same
        made = _Part(frozenset(), frozenset(), empty=True)
        for _ in range(least):
            made = self.joined(made, self.sequence(nodes))
        if most >= _MAX_WIDTH:
            loop = self.sequence(nodes)
            self.follows(loop.last, loop.first)
            return self.joined(made, loop._replace(empty=True))
        more = _Part(frozenset(), frozenset(), empty=True)
        for _ in range(most - least):
            # From the inside out: (x(x(x)?)?)?
            more = self.joined(self.sequence(nodes), more)._replace(empty=True)
        return self.joined(made, more)


def leaves_no_choice(pattern: str) -> bool:
    """Whether Python's engine matches it in one way at most, from each place. False where that is not
    known: with references, assertions, flags and what is new in the language."""
    try:
        nodes = list(parse_pattern(pattern))
        return all(_is_distinct(each) for each in _alternatives(nodes))
    except (_UnknownError, RecursionError):
        return False


def _alternatives(nodes: list[Any]) -> list[Sequence[Any]]:
    """Those of the whole pattern are tried one after the other."""
    if len(nodes) == 1 and str(nodes[0][0]) == "BRANCH":
        return list(nodes[0][1][1])
    return [nodes]


def _is_distinct(nodes: Sequence[Any]) -> bool:
    places = _Places()
    whole = places.sequence(nodes)
    return places.are_distinct(whole.first) and all(map(places.are_distinct, places.follow))


def _characters(kind: str, given: Any) -> frozenset[int]:
    if kind == "LITERAL":
        return _folded({given})
    if kind == "NOT_LITERAL":
        return _folded(_ALL - {given} if given < _OTHER else _ALL)
    if kind == "ANY":
        return _ALL
    if kind != "IN":
        raise _UnknownError
    found: set[int] = set()
    negated = False
    for inner, value in given:
        name = str(inner)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            found.add(value)
        elif name == "RANGE":
            found.update(range(value[0], min(value[1], _OTHER) + 1), {value[1]})
        elif name == "CATEGORY":
            found |= _category(str(value))
        else:
            raise _UnknownError
    # A case that counts for both widens a set, so what is left out must not be widened.
    return (
        _folded(_ALL - {min(each, _OTHER) for each in found if each < _OTHER}) if negated else _folded(found)
    )


def _category(name: str) -> frozenset[int]:
    word = name.rpartition("_")[2]
    if word not in _CATEGORIES:
        raise _UnknownError
    return (_ALL - _CATEGORIES[word]) | {_OTHER} if "_NOT_" in name else _CATEGORIES[word]


def _folded(characters: Iterable[int]) -> frozenset[int]:
    """As if case did not count, and all that is not ASCII were one."""
    made = set()
    for each in characters:
        if each >= _OTHER:
            made.add(_OTHER)
        else:
            made |= {ord(chr(each).lower()), ord(chr(each).upper())}
    return frozenset(made)
