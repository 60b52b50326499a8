"""Everything has a place of its own in the file, and headers are whole or not there."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bext_otel.service import file_format as layout
from bext_otel.service.file_format import Header

slots = st.integers(0, layout.SLOTS - 1)
lengths = st.integers(0, layout.LARGEST)
sequences = st.integers(1, 2**64 - 1)


@given(slots, sequences, lengths)
def test_a_payload_has_room_for_each_of_its_bytes(slot: int, sequence: int, length: int) -> None:
    extents = list(layout.extents(slot, sequence, length))
    assert length == sum(size for _, size in extents)
    assert all(size > 0 for _, size in extents)


@given(slots, sequences, slots, sequences)
def test_no_two_payloads_overlap(slot: int, sequence: int, other: int, another: int) -> None:
    """Whatever their lengths, if the slots differ or the halves."""
    if (slot, sequence % 2) == (other, another % 2):
        return
    pieces = sorted(
        [*layout.extents(slot, sequence, layout.LARGEST), *layout.extents(other, another, layout.LARGEST)]
    )
    assert all(offset + size <= following for (offset, size), (following, _) in pairwise(pieces))


def test_marks_directory_and_payloads_do_not_overlap() -> None:
    first, _ = next(layout.extents(0, 0, 1))
    assert layout.BEGINNING < layout.MARKS
    assert layout.MARKS + layout.SLOTS <= layout.DIRECTORY
    assert (
        layout.place(layout.SLOTS - 1, 1) + layout.ENTRY // 2
        == layout.DIRECTORY + layout.SLOTS * layout.ENTRY
        <= first
    )


@given(sequences.filter(lambda sequence: sequence > 1), lengths, st.integers(0, 2**32 - 1))
def test_the_later_of_two_headers_counts(sequence: int, length: int, crc: int) -> None:
    halves = {(sequence - 1) % 2: Header(sequence - 1, 0, 0), sequence % 2: Header(sequence, length, crc)}
    assert Header(sequence, length, crc) == layout.newest(halves[0].pack() + halves[1].pack())


@given(st.integers(0, layout.ENTRY // 2 - 1), st.integers(1, 255))
def test_of_a_damaged_header_the_former_one_stands(at: int, flip: int) -> None:
    former, later = Header(7, 100, 1), Header(8, 200, 2)
    damaged = bytearray(later.pack())
    damaged[at] ^= flip
    padding = at >= 24
    assert (later if padding else former) == layout.newest(bytes(damaged) + former.pack())


def test_zeros_are_no_header() -> None:
    assert layout.newest(bytes(layout.ENTRY)) is None


@given(st.text())
def test_the_file_says_whose_it_is(service: str) -> None:
    start = layout.beginning(service)
    assert len(start) <= layout.BEGINNING
    name = layout.service_of(start.ljust(layout.BEGINNING, b"\0"))
    assert name is not None
    assert service.encode("utf-8", "replace").startswith(name)


@given(st.binary())
def test_other_files_are_nobodys(content: bytes) -> None:
    assert layout.service_of(content) is None
