"""The directory of tags that TIFF files and EXIF blocks start with: what pixels need of it, and the recorded turn.

Nothing else of it is looked at. Cameras and programs write what they like there, and Pillow warns of it, refuses
pictures for it, and writes it anew when it turns a picture.

Reference:
    Adobe, "TIFF, Revision 6.0", 1992, Sections 2 and 8; JEITA CP-3451, "Exif".
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

ORIENTATION = 274

_SINGLE = {256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 332, 512, 513, 514, 515}
_SEVERAL = {258, 273, 279, 320, 324, 325, 338, 339, 347, 519, 520, 521, 529, 530, 532}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE = {1, 3, 4, 16}  # Types of numbers without sign.
_MOST = 1 << 16  # Tags of a directory.


class _Layout(NamedTuple):
    """How a directory is written: in classic TIFF or in BigTIFF, with one order of bytes or the other."""

    number: struct.Struct
    entry: struct.Struct
    offset: struct.Struct
    start: int
    """Where the header has the directory's place."""


class _Tag(NamedTuple):
    number: int
    type: int
    value: bytes | None
    """None where it is not all there."""


def orientation(block: bytes) -> int:
    """The turn that an EXIF block or a TIFF file records, 1 to 8; 1, which is none, where it makes no sense."""
    block = block.removeprefix(b"Exif\0\0")
    try:
        return next((_turn(block, tag) for tag in _tags(block, {ORIENTATION})), 1)
    except struct.error:
        return 1


def pixels_only(data: bytes) -> bytes:
    """A TIFF file of the same pixels whose only directory has what they need, and is whole.

    Raises:
        ValueError: if a tag that pixels need is damaged.
        struct.error: if there is no directory.
    """
    layout, tags = _layout(data), sorted(_tags(data, _SINGLE | _SEVERAL))
    pad = b"\0" * (len(data) % 2)
    place = len(data) + len(pad)
    end = place + layout.number.size + len(tags) * layout.entry.size + layout.offset.size
    entries, values = [], b""
    for tag in tags:
        if tag.value is None:
            raise ValueError(f"its tag {tag.number} is damaged")
        size = _SIZES[tag.type]
        field = value = tag.value[:size] if tag.number in _SINGLE else tag.value
        if len(value) > layout.offset.size:
            field = layout.offset.pack(end + len(values))
            values += value + b"\0" * (len(value) % 2)
        entries.append(layout.entry.pack(tag.number, tag.type, len(value) // size, field))
    head, rest = data[: layout.start], data[layout.start + layout.offset.size :]
    directory = [layout.number.pack(len(entries)), *entries, b"\0" * layout.offset.size]
    return b"".join([head, layout.offset.pack(place), rest, pad, *directory, values])


def _layout(data: bytes) -> _Layout:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise struct.error("no TIFF")
    big = struct.unpack_from(order + "H", data, 2) == (43,)
    number, entry, offset = (
        struct.Struct(order + one) for one in (("Q", "HHQ8s", "Q") if big else ("H", "HHL4s", "L"))
    )
    return _Layout(number, entry, offset, 8 if big else 4)


def _tags(data: bytes, wanted: set[int]) -> Iterator[_Tag]:
    """Those of the first directory that are wanted, as far as it is there; of two with one number the first."""
    count, entry, offset, start = _layout(data)
    (place,) = offset.unpack_from(data, start)
    (number,) = count.unpack_from(data, place) if place < len(data) else (0,)
    first, left, seen = place + count.size, len(data), set()
    for at in range(first, min(first + min(number, _MOST) * entry.size, len(data) - entry.size + 1), entry.size):
        tag, type_, length, field = entry.unpack_from(data, at)
        if tag not in wanted or tag in seen:
            continue
        seen.add(tag)
        size = length * _SIZES.get(type_, 0)
        if size > offset.size:
            (far,) = offset.unpack(field)
            left -= size  # Tags that share their values could be larger than the file together.
            whole = far + size <= len(data) and left >= 0
            yield _Tag(tag, type_, data[far : far + size] if whole else None)
        else:
            yield _Tag(tag, type_, field[:size] or None)


def _turn(block: bytes, tag: _Tag) -> int:
    if tag.value is None or tag.type not in _WHOLE:
        return 1
    found = int.from_bytes(tag.value[: _SIZES[tag.type]], "little" if block.startswith(b"II") else "big")
    return found if 1 <= found <= 8 else 1
