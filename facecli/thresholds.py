"""Thresholds: measured false-match rates of a recogniser, named thresholds, and the confidence in a match.

The false-match rate is the share of comparisons of two different people with a similarity at or over the threshold. A
search compares the query with every face of the index: with N faces and a rate r, the chance that any stranger passes
is 1 - (1 - r)^N.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from msgspec import Struct

from facecli.errors import UsageError, quoted
from facecli.types import Confidence, JsonValue

PRESET_RATES = {"loose": 4.7e-4, "balanced": 2.2e-5, "strict": 6.3e-7}
"""The false-match rate of each preset."""
NAMES = ("auto", *PRESET_RATES, "none")
STRANGER_CHANCE = 0.1
"""The chance that any stranger in the index passes, at the threshold of `auto`."""
LIKELY_CHANCE = 0.01
"""The chance that any stranger in the index is as similar as a likely match."""
CONFIDENCE_WORDS = (
    "Likely: one chance in a hundred or less that any stranger in an index of this size is as similar. "
    "Possible: at or over the automatic threshold. "
    "Unlikely: less similar than that."
)
"""What the words for the confidence in a match mean, for readers."""


class Point(Struct, frozen=True):
    """One row of a calibration."""

    threshold: float
    false_matches: float
    """Share of the comparisons of different people that are at or over the threshold."""
    true_matches: float
    """Share of the comparisons of one person that are at or over the threshold."""


class Calibration(Struct, frozen=True):
    """Measured false-match and true-match rates of a recogniser."""

    points: tuple[Point, ...]
    """By rising threshold; false matches fall and are never 0."""
    people: int
    pairs: int
    """Comparisons of two different people."""
    data: str
    estimate_error: float | None = None
    """By how much an estimate by short codes may lie below a similarity, with a margin; None where not measured."""

    @property
    def lowest(self) -> float:
        """The threshold of `loose`; `auto` goes no lower."""
        return self.threshold_at(PRESET_RATES["loose"])

    @property
    def highest(self) -> float:
        """The highest threshold at which false matches were measured; `auto` goes no higher."""
        return self.points[-1].threshold

    def threshold_at(self, rate: float) -> float:
        """The lowest threshold with at most this false-match rate.

        The logarithm of the rate is interpolated between the measured points; the result is rounded up to thousandths
        and stays within the measured range.
        """
        for before, after in itertools.pairwise(self.points):
            if after.false_matches <= rate < before.false_matches:
                share = math.log(before.false_matches / rate) / math.log(before.false_matches / after.false_matches)
                return (
                    math.ceil(round((before.threshold + share * (after.threshold - before.threshold)) * 1000, 6)) / 1000
                )
        return self.points[0].threshold if rate >= self.points[0].false_matches else self.points[-1].threshold

    def continued_at(self, rate: float) -> float:
        """As `threshold_at`, but rates below the measured ones are reached on a straight line of their logarithm.

        Its slope is the mean slope of the measurement, which falls faster at its end, so the result is rather too high.
        """
        first, last = self.points[0], self.points[-1]
        if rate >= last.false_matches or first.false_matches == last.false_matches:
            return self.threshold_at(rate)
        fall = math.log(first.false_matches / last.false_matches) / (last.threshold - first.threshold)
        return last.threshold + math.log(last.false_matches / rate) / fall

    def rate_at(self, similarity: float) -> float:
        """The false-match rate at a similarity.

        The logarithm of the rate is interpolated between the measured points; outside of their range the rate of the
        nearest point is returned.
        """
        points = self.points
        for before, after in itertools.pairwise(points):
            if before.threshold <= similarity <= after.threshold:
                share = (similarity - before.threshold) / (after.threshold - before.threshold)
                return float(before.false_matches ** (1 - share) * after.false_matches**share)
        return points[0].false_matches if similarity < points[0].threshold else points[-1].false_matches

    def reaches(self, rate: float) -> bool:
        """Whether the measurement includes a rate this small."""
        return self.points[-1].false_matches <= rate

    def to_record(self) -> dict[str, JsonValue]:
        """Convert to plain values, for JSON."""
        points: list[JsonValue] = [[p.threshold, p.false_matches, p.true_matches] for p in self.points]
        record: dict[str, JsonValue] = {
            "points": points,
            "people": self.people,
            "pairs": self.pairs,
            "data": self.data,
        }
        return record if self.estimate_error is None else record | {"estimate_error": self.estimate_error}

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Calibration:
        """Read a record of `to_record`; raises KeyError, TypeError or ValueError on anything else."""
        rows = record["points"]
        if not isinstance(rows, list) or not rows:
            raise ValueError("a calibration without points")
        points = tuple(Point(*map(float, row)) for row in rows)
        if any(
            b.threshold <= a.threshold or not 0 < b.false_matches <= a.false_matches
            for a, b in itertools.pairwise(points)
        ):
            raise ValueError("the points of a calibration are out of order")
        error = record.get("estimate_error")
        return cls(
            points,
            int(str(record["people"])),
            int(str(record["pairs"])),
            str(record["data"]),
            None if error is None else min(max(float(str(error)), 0.0), 2.0),
        )


_MOBILEFACENET = (
    (0.20, 7.8e-3, 0.933),
    (0.22, 4.3e-3, 0.916),
    (0.24, 2.2e-3, 0.897),
    (0.26, 1.1e-3, 0.875),
    (0.28, 4.7e-4, 0.850),
    (0.30, 1.9e-4, 0.822),
    (0.32, 6.8e-5, 0.789),
    (0.34, 2.2e-5, 0.753),
    (0.36, 6.7e-6, 0.712),
    (0.38, 1.9e-6, 0.668),
    (0.40, 6.3e-7, 0.620),
    (0.42, 8e-8, 0.570),
)
MEASURED = {
    "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f": Calibration(
        tuple(Point(*row) for row in _MOBILEFACENET),
        people=24,
        pairs=49_300_000,
        data="10,233 small face crops of 24 people, detected and aligned again",
        estimate_error=0.12,
    )
}
"""Measurements that come with facecli, by the SHA-256 of the recogniser: here w600k_mbf.onnx (buffalo_sc, buffalo_s).

The crops make true matches hard (low resolution, years apart, some wrong labels), and there are many pairs to measure
false matches. On 100 photos of LFW (10 people, 450 and 4,500 pairs) the true-match rate is 1.000 up to 0.34 and 0.984
at 0.42, and there is no false match from 0.24 on.
"""


class Threshold(Struct, frozen=True):
    """The minimum similarity of a match, with its measured rate."""

    name: str
    """As the user gave it: auto, strict, 0.35, none."""
    minimum: float | None
    """None if every face matches."""
    calibration: Calibration | None
    faces: int
    """Number of faces that the query is compared with."""

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    @property
    def rate(self) -> float | None:
        """The measured false-match rate; None if unknown."""
        return None if self.minimum is None or self.calibration is None else self.calibration.rate_at(self.minimum)

    @property
    def strangers(self) -> float | None:
        """Expected number of strangers over the threshold, if the person is not in the index."""
        return None if self.rate is None else self.rate * self.faces

    @property
    def exceeded(self) -> bool:
        """Whether `auto` needs a higher threshold than was measured."""
        if self.name != "auto" or self.calibration is None or self.faces == 0:
            return False
        return not self.calibration.reaches(rate_for(self.faces))

    def describe(self) -> str:
        """Describe the threshold and its measured rate in one line."""
        if self.minimum is None:
            return (
                "threshold none: every face is a match"
                if self.name == "none"
                else "threshold none: this model pack is not calibrated"
            )
        named = f"threshold {self.minimum:.4g}" + (
            "" if self.name == f"{self.minimum:.4g}" or not self.name.isalpha() else f" ({self.name})"
        )
        if self.calibration is None or self.rate is None:
            return f"{named}: false-match rate not measured"
        rate = f"about 1 false match in {spoken(1 / self.rate)} comparisons"
        if self.minimum > self.calibration.highest:
            rate = f"fewer than 1 false match in {spoken(1 / self.rate)} comparisons"
        elif self.minimum < self.calibration.points[0].threshold:
            rate = f"more than 1 false match in {spoken(1 / self.rate)} comparisons"
        return f"{named}: {rate} (measured on {self.calibration.people} people)"

    def expectation(self) -> str:
        """Tell how many strangers to expect, for an index that is too large for the measurement."""
        return (
            f"threshold {self.minimum:.4g} is the highest that was measured: "
            f"expect about {self.strangers:.2g} strangers over it among {self.faces:,} faces"
        )


def read_threshold(asked: str) -> float | str:
    """Parse a threshold, a number or a name; raises UsageError on anything else."""
    if asked in NAMES:
        return asked
    try:
        value = float(asked)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise UsageError(
            "a threshold is a number from -1 to 1, or auto, loose, balanced, strict or none", quoted(asked)
        )
    return value


def choose_threshold(asked: str, calibration: Calibration | None, faces: int) -> Threshold:
    """Resolve a threshold for an index of `faces` faces; raises UsageError on a name whose rate was not measured."""
    value = read_threshold(asked)
    if isinstance(value, float):
        return Threshold(asked, value, calibration, faces)
    if value == "none" or (value == "auto" and calibration is None):
        return Threshold(asked, None, calibration, faces)
    if calibration is None:
        raise UsageError(
            "this model pack is not calibrated, so a threshold must be a number",
            asked,
            hint="-t NUMBER, or facecli calibrate DIR",
        )
    if value == "auto":
        return Threshold(asked, _fitting(calibration, faces), calibration, faces)
    if not calibration.reaches(PRESET_RATES[value]):
        raise UsageError(
            "a false-match rate this small was not measured "
            f"({calibration.pairs:,} comparisons of {calibration.people} people)",
            asked,
            hint="-t NUMBER, or facecli calibrate DIR with more people",
        )
    return Threshold(asked, calibration.threshold_at(PRESET_RATES[value]), calibration, faces)


def rate_for(faces: int, chance: float = STRANGER_CHANCE) -> float:
    """The false-match rate at which `chance` is the chance that any stranger among `faces` passes."""
    return -math.expm1(math.log1p(-chance) / faces)


def _fitting(calibration: Calibration, faces: int) -> float:
    if faces == 0:
        return calibration.lowest
    return min(max(calibration.threshold_at(rate_for(faces)), calibration.lowest), calibration.highest)


class ConfidenceScale(Struct, frozen=True):
    """The lowest similarities of possible and likely matches in an index of some size."""

    possible: float
    """The threshold of `auto`."""
    likely: float
    """From here on, the chance that any stranger in the index is as similar is LIKELY_CHANCE or less."""

    def judge(self, similarity: float) -> Confidence:
        """The confidence in a match."""
        if similarity >= self.likely:
            return Confidence.LIKELY
        return Confidence.POSSIBLE if similarity >= self.possible else Confidence.UNLIKELY


def confidence_scale(calibration: Calibration, faces: int) -> ConfidenceScale:
    """The scale for an index of `faces` faces."""
    possible = _fitting(calibration, faces)
    likely = calibration.continued_at(rate_for(max(1, faces), LIKELY_CHANCE))
    return ConfidenceScale(possible, max(possible, likely))


def spoken(count: float) -> str:
    """Format a large number with two significant digits: 45,000, 1.6 million."""
    digits = 1 - math.floor(math.log10(count)) if count > 0 else 0
    rounded = round(count, digits)
    if rounded >= 1_000_000:
        return f"{rounded / 1_000_000:.2g} million" if rounded < 100_000_000 else f"{rounded / 1_000_000:,.0f} million"
    return f"{rounded:,.0f}"
