"""Values of options that are neither a number nor a word alone."""

from __future__ import annotations

import click


class FaceChoice(click.ParamType[str]):
    """`largest`, `all`, or the number of a face from 1."""

    name = "largest|all|N"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        number = value.isascii() and value.isdigit() and int(value) > 0
        if not number and value not in ("largest", "all"):
            self.fail(f"{value!r} is not largest, all or the number of a face", param, ctx)
        return str(int(value)) if number else value


FACE = FaceChoice()
