"""How many processors a run may use, and how many workers it has."""

from __future__ import annotations

from pathlib import Path

from facecli.vision.processor import count_processors

CGROUP = Path("/sys/fs/cgroup")
BYTES_OF_A_WORKER = 64_000_000
"""What a waiting worker holds at the most without having it given back: the pixels of a photo of 12 to 20 megapixels."""


def count_workers(devices: int, batch_size: int, memory: int) -> int:
    """How many workers there are: one for each processor, and where `devices` work in their stead as many more as a batch holds.

    All of a batch waits; so many may as `memory`, the bytes for decoded photos, allows.
    """
    return usable_cores() + (min(batch_size, memory // BYTES_OF_A_WORKER) if devices else 0)


def usable_cores(cgroup: Path = CGROUP) -> int:
    """The processors that this process may use: its affinity, and the quota of its container rounded up."""
    cores = count_processors()
    quota = _quota(cgroup)
    return max(1, cores if quota is None else min(cores, -int(-quota // 1)))


def _quota(cgroup: Path) -> float | None:
    """Processors granted by the cgroup (version 2, else 1), None where there is no limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text("ascii")
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text("ascii")
        except OSError:
            return None
    try:
        return int(limit) / int(period) if int(limit) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
