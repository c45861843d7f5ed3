"""Items as paths only, each photo once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Generic

from facecli.output.layout import Listed, RowLayout
from facecli.output.records import PathStyle
from facecli.output.sink import Sink


class PathListWriter(Generic[Listed]):
    """Writes the bytes of each path once, followed by `ending`."""

    def __init__(self, stream: Sink, layout: RowLayout[Listed], style: PathStyle, ending: bytes) -> None:
        self._stream, self._layout, self._style, self._ending = stream, layout, style, ending
        self._written: set[str] = set()

    def begin(self) -> None:
        """Do nothing: there is no header."""

    def write(self, items: Iterable[Listed], title: str = "") -> None:
        """Write the paths of the items that have not been written yet."""
        for path in map(self._layout.path, items):
            if path not in self._written:
                self._written.add(path)
                self._stream.write(os.fsencode(self._style.show(path)) + self._ending)

    def end(self) -> None:
        """Do nothing: there is no footer."""
