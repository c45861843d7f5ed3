"""How many workers a run has."""

from __future__ import annotations

from facecli.system import count_processors

BYTES_OF_A_WORKER = 64_000_000
"""What a waiting worker holds at the most without having it given back: the pixels of a photo of 12 to 20
megapixels."""


def count_workers(devices: int, batch_size: int, memory: int) -> int:
    """The number of workers: one a processor, and with `devices` as many more as a batch holds.

    All of a batch waits; so many may as `memory`, the bytes for decoded photos, allows.
    """
    return count_processors() + (min(batch_size, memory // BYTES_OF_A_WORKER) if devices else 0)
