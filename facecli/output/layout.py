"""What each kind of row shows: a record for JSON and CSV, cells for tables and tab-separated rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from msgspec import Struct

if TYPE_CHECKING:  # facecli.types loads numpy, and help is shown without it
    from collections.abc import Mapping

    from facecli.types import JsonValue

Listed = TypeVar("Listed")
Listed_contra = TypeVar("Listed_contra", contravariant=True)


class Column(Struct, frozen=True):
    """A column of a table, and of tab-separated rows unless `table_only`."""

    name: str
    right: bool = False
    """Whether the cells are aligned to the right: numbers."""
    path: bool = False
    """Whether the cells are the path, which is shortened where the terminal is narrow, and linked."""
    coloured: bool = False
    """Whether the cells have the colour of their row."""
    table_only: bool = False


class RowLayout(Protocol[Listed_contra]):
    """How one kind of item, such as a match or a face, is shown in every format."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The keys of a record, in order: the columns of CSV."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the cells."""

    def record(self, item: Listed_contra, /) -> Mapping[str, JsonValue]:
        """The item as plain values."""

    def cells(self, item: Listed_contra, /) -> tuple[str, ...]:
        """The item as text, one cell a column; names are as they are, not escaped."""

    def path(self, item: Listed_contra, /) -> str:
        """The absolute path of the item's photo."""

    def colour(self, item: Listed_contra, /) -> str:
        """The SGR code of the row's colour; empty for none."""


class PlainLayout(Generic[Listed_contra]):
    """The rest of a layout whose rows have no photo and no colour."""

    def path(self, item: Listed_contra, /) -> str:
        """No photo."""
        return ""

    def colour(self, item: Listed_contra, /) -> str:
        """No colour."""
        return ""
