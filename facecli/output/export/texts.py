"""Values of an export as text."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from facecli.captures import iso_time
from facecli.exports import Field, FieldKind
from facecli.types import JsonValue


def plain(field: Field, value: Any) -> JsonValue:
    """A value of a field as JSON has it; numbers have the digits that tell them from their neighbours."""
    if value is None:
        return None
    convert = _CONVERSIONS.get(field.kind)
    return value if convert is None else convert(value)


@cache
def _shortened(bits: int) -> float:
    """A number of an embedding, float16, by its bits, with five digits: there are only so many of them."""
    return float(f"{np.uint16(bits).view(np.float16).item():.5g}")


_CONVERSIONS: dict[FieldKind, Callable[[Any], JsonValue]] = {
    FieldKind.TIME: iso_time,
    FieldKind.BYTES: lambda raw: base64.b64encode(raw).decode("ascii"),
    FieldKind.EMBEDDING: lambda numbers: list(map(_shortened, numbers.view("<u2").tolist())),
    FieldKind.NUMBERS: lambda numbers: [round(number, 2) for number in numbers],
    FieldKind.NUMBER: lambda number: round(float(number), 7),
}
