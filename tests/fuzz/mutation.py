"""Damage files, in the ways that occur in real files or that an attacker would use."""

from __future__ import annotations

import random
import struct
import zlib

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 0x01000000)


def mutate(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """A file with one to four kinds of damage; pieces may come from `other`."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        if not changed:
            break
        dice.choice((_flip, _flip, _overwrite, _overwrite, _number, _number, _cut, _remove, _repeat, _splice))(
            changed, other, dice
        )
    if changed.startswith(b"\x89PNG") and dice.random() < 0.8:
        return with_checksums(bytes(changed))
    return bytes(changed)


def _place(changed: bytearray, dice: random.Random) -> int:
    """A random position, half of the time among the first bytes, where headers are."""
    return dice.randrange(min(len(changed), 400) if dice.random() < 0.5 else len(changed))


def _flip(changed: bytearray, _: bytes, dice: random.Random) -> None:
    changed[_place(changed, dice)] ^= 1 << dice.randrange(8)


def _overwrite(changed: bytearray, _: bytes, dice: random.Random) -> None:
    at = _place(changed, dice)
    changed[at : at + 1] = dice.randbytes(dice.choice((1, 1, 2, 4, 64)))[: len(changed) - at]


def _number(changed: bytearray, _: bytes, dice: random.Random) -> None:
    """An extreme value of an integer type, in either byte order."""
    at, size = _place(changed, dice), dice.choice((2, 4))
    value = dice.choice(INTERESTING) & ((1 << 8 * size) - 1)
    changed[at : at + size] = value.to_bytes(size, dice.choice(("big", "little")))


def _cut(changed: bytearray, _: bytes, dice: random.Random) -> None:
    del changed[dice.randrange(len(changed)) :]


def _remove(changed: bytearray, _: bytes, dice: random.Random) -> None:
    at = _place(changed, dice)
    del changed[at : at + dice.choice((1, 2, 7, 300))]


def _repeat(changed: bytearray, _: bytes, dice: random.Random) -> None:
    at = _place(changed, dice)
    changed[at:at] = changed[at : at + dice.choice((1, 4, 50, 3000))] * dice.choice((1, 1, 3, 50))


def _splice(changed: bytearray, other: bytes, dice: random.Random) -> None:
    at, start = _place(changed, dice), dice.randrange(len(other))
    changed[at : at + dice.choice((0, 100))] = other[start : start + dice.choice((4, 100, 2000))]


def with_checksums(png: bytes) -> bytes:
    """A PNG with corrected chunk checksums, so that the damage reaches the decoder."""
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        body = png[at + 4 : at + 8 + size]
        if at + 12 + size > len(png):
            break
        parts.append(struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + size
    return b"".join(parts) + png[at:]
