"""DER (X.690) read with bounds: one element after the other, never recursing, never trusting a length."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID = 0x01, 0x02, 0x03, 0x04, 0x06
UTF8_STRING, NUMERIC_STRING, PRINTABLE_STRING, T61_STRING, IA5_STRING = 0x0C, 0x12, 0x13, 0x14, 0x16
UTC_TIME, GENERALIZED_TIME, VISIBLE_STRING, UNIVERSAL_STRING, BMP_STRING = 0x17, 0x18, 0x1A, 0x1C, 0x1E
SEQUENCE, SET = 0x30, 0x31


class Element(msgspec.Struct, frozen=True):
    """One element: where its contents lie in the data."""

    tag: int
    """The identifier octet; tags above 30, which take more octets, do not occur in certificates."""
    start: int
    end: int


class MalformedError(ValueError):
    """Bytes that are not DER where an element must stand. Never leaves this package's callers."""


def element_at(data: bytes, position: int, end: int) -> Element:
    """The element at `position`, which must end at or before `end`; MalformedError otherwise."""
    if position + 2 > end:
        raise MalformedError("element cut off")
    tag, length = data[position], data[position + 1]
    if tag & 0x1F == 0x1F:
        raise MalformedError("tag of several octets")
    start = position + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > end:  # 0 would be BER's indefinite form
            raise MalformedError("length of a form that DER has not")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if length > end - start:
        raise MalformedError("element longer than what holds it")
    return Element(tag, start, start + length)


def expect(data: bytes, position: int, end: int, tag: int) -> Element:
    """The element at `position` if it has the tag; MalformedError otherwise."""
    element = element_at(data, position, end)
    if element.tag != tag:
        raise MalformedError(f"tag {element.tag:#x} where {tag:#x} must stand")
    return element


def children(data: bytes, holder: Element, limit: int) -> Iterator[Element]:
    """The elements inside `holder`, at most `limit` of them; MalformedError at the first that is broken."""
    position = holder.start
    for _ in range(limit):
        if position >= holder.end:
            return
        element = element_at(data, position, holder.end)
        yield element
        position = element.end


def oid_text(contents: bytes) -> str:
    """Dotted text of an object identifier's contents (X.690 section 8.19); odd ones as `oid:<hex>`."""
    if not contents or len(contents) > 32 or contents[-1] & 0x80:
        return "oid:" + contents[:32].hex()
    arcs: list[int] = []
    value = 0
    for octet in contents:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))
