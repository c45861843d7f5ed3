"""Identify this processor, as a key for what was optimised or measured on it."""

from __future__ import annotations

import platform

import xxhash

HEAD_BYTES = 4096
"""Bytes to read of /proc/cpuinfo: its first processor needs fewer, and reading all takes milliseconds on large
machines."""


def processor_identity() -> str:
    """Eight hexadecimal digits, equal on processors with the same name and the same instruction set."""
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
