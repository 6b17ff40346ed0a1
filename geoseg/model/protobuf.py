"""Just enough of protocol buffers to read foreign files without their libraries.

https://protobuf.dev/programming-guides/encoding/: a message is a row of fields, each a tag and a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

Bytes = TypeVar("Bytes", bytes, memoryview)


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Number and the position after it (7 bits a byte, lowest first).

    Raises:
        IndexError: the data end within it.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(message: Bytes) -> Iterator[tuple[int, int | Bytes]]:
    """Field numbers and values: whole numbers as such, all others as a part of the message.

    Raises:
        IndexError, ValueError: the message is damaged.
    """
    for number, value, _ in spans(message):
        yield number, value


def spans(message: Bytes) -> Iterator[tuple[int, int | Bytes, int]]:
    """`fields`, and where in the message each ends.

    Raises:
        IndexError, ValueError: see `fields`.
    """
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        value: int | Bytes
        if kind == 0:
            value, at = varint(message, at)
        elif kind in {1, 2, 5}:
            length, at = varint(message, at) if kind == 2 else (8 if kind == 1 else 4, at)
            if at + length > len(message):
                raise ValueError("a field lies beyond the end")
            value, at = message[at : at + length], at + length
        else:
            raise ValueError(f"unknown wire type {kind}")
        yield tag >> 3, value, at


def messages(message: Bytes, number: int) -> Iterator[Bytes]:
    """The submessages (or strings) of one repeated field."""
    for field, value in fields(message):
        if field == number and not isinstance(value, int):
            yield value


def text(number: int, value: bytes) -> bytes:
    """A field of text or of a submessage, as it is written."""
    return _as_varint(number << 3 | 2) + _as_varint(len(value)) + value


def _as_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
