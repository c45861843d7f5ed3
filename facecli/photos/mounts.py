"""Mount points, bind mounts included, which share their device with what is around them."""

from __future__ import annotations

import os
import re


def mounts_below(root: str) -> frozenset[str]:
    """The mount points below a root, under the name that the root has; empty where the system keeps no list of them."""
    real = os.path.realpath(root)
    below = real if real.endswith("/") else real + "/"
    shown = root if root.endswith("/") else root + "/"
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            points = [os.fsdecode(_unescape(line.split(b" ", 5)[4])) for line in file if line.count(b" ") > 4]
    except OSError:
        return frozenset()
    return frozenset(shown + point[len(below) :] for point in points if point.startswith(below) and point != below)


def _unescape(name: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes((int(m[1], 8),)), name)
