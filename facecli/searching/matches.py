"""The matches of one query, for a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from facecli.thresholds import Threshold
from facecli.types import Match, SearchResult


class Matches(Sequence[Match]):
    """The matches of a search, best first."""

    def __init__(self, result: SearchResult, threshold: Threshold) -> None:
        self.query = result.query
        """The face that was searched for."""
        self.threshold = threshold
        """The minimum similarity of a match, and its measured false-match rate."""
        self.more = result.more
        """Whether there are more matches than `top`."""
        self.nearest = result.nearest
        """Without a match: the similarity of the nearest face; None in an empty index."""
        self._matches = result.matches

    @overload
    def __getitem__(self, place: int) -> Match: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Match, ...]: ...
    def __getitem__(self, place: int | slice) -> Match | tuple[Match, ...]:
        return self._matches[place]

    def __len__(self) -> int:
        return len(self._matches)

    def __repr__(self) -> str:
        best = f", best {self._matches[0].similarity:.4f}" if self._matches else ""
        return f"<{len(self)} matches of {self.query.query!r}{best}>"
