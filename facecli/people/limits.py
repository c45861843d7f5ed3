"""The limits of grouping for a recogniser: measured for the default pack, derived from a calibration for others."""

from __future__ import annotations

from facecli.errors import UsageError
from facecli.people.grouping import Limits
from facecli.thresholds import MEASURED, PRESET_RATES, Calibration

DEFAULT_RECOGNISER = next(iter(MEASURED))
"""The SHA-256 of w600k_mbf.onnx (buffalo_sc, buffalo_s)."""
DEFAULT = Limits(link=0.38, small=0.08, merge=0.58, attach=0.40, margin=0.10, suggest=0.45)
"""What was measured with the default pack, see docs/people.md."""
RATE_NEEDED = 1e-4
"""The false-match rate that a calibration must reach: grouping compares every face with every other."""


def limits_for(recogniser_sha256: str, calibration: Calibration | None, threshold: float | None) -> Limits:
    """The limits for a recogniser; a `threshold` from the user is the one from which on faces are linked.

    Raises UsageError where the recogniser is another than the default pack's, and neither a sufficient calibration nor
    a threshold is given.
    """
    if recogniser_sha256 == DEFAULT_RECOGNISER:
        limits = DEFAULT
    elif calibration is not None and calibration.reaches(RATE_NEEDED):
        limits = _translated(calibration)
    elif threshold is not None:
        limits = DEFAULT
    else:
        raise UsageError(
            "this model pack is not calibrated, so it is not known from which similarity on faces are one person's"
            if calibration is None
            else f"a false-match rate of {RATE_NEEDED:g}, which grouping needs, was not measured for this model pack",
            hint="facecli calibrate DIR with photos of many people, or --threshold NUMBER",
        )
    return limits if threshold is None else _moved(limits, threshold - limits.link)


def _moved(limits: Limits, by: float) -> Limits:
    """All limits higher or lower."""
    return Limits(
        limits.link + by,
        limits.small,
        min(1.0, limits.merge + by),
        min(1.0, limits.attach + by),
        limits.margin,
        min(1.0, limits.suggest + by),
    )


def _translated(calibration: Calibration) -> Limits:
    """The limits of the default pack on the scale of another recogniser.

    The scales are fitted at two false-match rates: that of the threshold `loose`, and the lowest that was measured.
    """
    known = MEASURED[DEFAULT_RECOGNISER]
    rates = (
        max(PRESET_RATES["loose"], 2 * RATE_NEEDED),
        max(calibration.points[-1].false_matches, PRESET_RATES["strict"]),
    )
    ours, theirs = ([c.threshold_at(rate) for rate in rates] for c in (known, calibration))
    scale = (theirs[1] - theirs[0]) / (ours[1] - ours[0])

    def place(similarity: float) -> float:
        return min(1.0, theirs[0] + scale * (similarity - ours[0]))

    return Limits(
        place(DEFAULT.link),
        DEFAULT.small * scale,
        place(DEFAULT.merge),
        place(DEFAULT.attach),
        DEFAULT.margin * scale,
        place(DEFAULT.suggest),
    )
