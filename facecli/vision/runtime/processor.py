"""What this processor is, for what was optimised or measured on it."""

from __future__ import annotations

import platform

import xxhash

HEAD_BYTES = 4096
"""Of /proc/cpuinfo; its first processor stands in fewer, and reading on would cost milliseconds on large machines."""


def processor_identity() -> str:
    """Eight hexadecimal digits that are the same on processors with the same name and the same instructions."""
    return xxhash.xxh3_64_hexdigest("\n".join((platform.machine(), *_described())).encode())[:8]


def _described() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read(HEAD_BYTES).splitlines()
    except OSError:
        return [platform.processor(), platform.system()]
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU part")
    first = lines[: lines.index("") if "" in lines else len(lines)]
    return [line for line in first if line.partition(":")[0].strip() in wanted]
