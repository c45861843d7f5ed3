"""The number of worker threads of a run."""

from __future__ import annotations

from facecli.system import count_processors

BYTES_OF_A_WORKER = 64_000_000
"""The most memory that a waiting worker keeps: the pixels of a photo of 12 to 20 megapixels."""


def count_workers(devices: int, batch_size: int, memory: int) -> int:
    """The number of workers: one per processor, and with `devices` as many more as a batch holds.

    The workers of a whole batch wait for its result. `memory`, the bytes for decoded photos, limits their number.
    """
    return count_processors() + (min(batch_size, memory // BYTES_OF_A_WORKER) if devices else 0)
