"""How many processors and how much memory this process may use: by its affinity and by every control group above it, of version 1 and 2."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator

ROOT = "/"
MEMORY_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
"""Files of a group; the last is version 1's."""


_LACKING = re.compile(
    "failed to map segment|out of memory|bad_alloc|cannot allocate|failed to allocate|not enough memory|can't start new thread|too many open files",
    re.IGNORECASE,
)
"""What the loader of libraries, C++, Python and the system say where memory, threads or handles are lacking."""


def is_lack(error: BaseException) -> bool:
    """Whether an error is one of this moment: the system had too little memory or too few handles, and nothing else is at fault."""
    return isinstance(error, MemoryError) or _LACKING.search(str(error)) is not None


def count_processors(root: str = ROOT) -> int:
    """The processors that this process may use: its affinity, and the least quota of its groups rounded up."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([here, *(math.ceil(quota) for folder in _folders("cpu", root) for quota in _quotas(folder))]))


def usable_memory(root: str = ROOT) -> int:
    """The bytes of memory that this process may use: those of the machine, and the least limit of its groups."""
    here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([here, *(limit for folder in _folders("memory", root) for limit in _memory_limits(folder))])


def _quotas(folder: str) -> Iterator[float]:
    """The processors that a group grants; nothing where it sets no limit."""
    one, two = _numbers(folder, "cpu.max"), [*_numbers(folder, "cpu.cfs_quota_us"), *_numbers(folder, "cpu.cfs_period_us")]
    yield from (quota / period for quota, period in (n for n in (one, two) if len(n) == 2))


def _memory_limits(folder: str) -> Iterator[int]:
    """The limits that a group sets, and that of groups above it which a container does not see."""
    for name in MEMORY_LIMITS:
        yield from _numbers(folder, name)
    for line in _lines(f"{folder}/memory.stat"):
        if line.startswith("hierarchical_memory_limit "):
            yield from _positive(line.split()[1:])


def _folders(controller: str, root: str) -> Iterator[str]:
    """The folders of the groups of this process that limit what `controller` stands for, the outermost first."""
    own = _own_groups(root)
    for line in _lines(f"{root}/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        mount, kind = before.split(" "), after.split(" ")
        if len(mount) < 5 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        group = own.get(controller if kind[0] == "cgroup" else "")
        if group is None or (kind[0] == "cgroup" and controller not in kind[-1].split(",")):
            continue
        place = f"{root}/{_unescaped(mount[4])}"
        yield from ("/".join((place, *path)) for path in _paths(_unescaped(mount[3]), group))


def _own_groups(root: str) -> dict[str, str]:
    """The group of this process for each controller of version 1, and for version 2 by the empty name."""
    found: dict[str, str] = {}
    for line in _lines(f"{root}/proc/self/cgroup"):
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        found |= dict.fromkeys(controllers.split(","), group)
    return found


def _paths(base: str, group: str) -> list[list[str]]:
    """The way from the group that is mounted, `base`, to a group below it, each step a path; of one that is not below it the mounted alone."""
    above, parts = base.strip("/").split("/"), group.strip("/").split("/")
    above = [part for part in above if part]
    below = [part for part in parts[len(above) :] if part] if parts[: len(above)] == above and ".." not in parts else []
    return [below[:depth] for depth in range(len(below) + 1)]


def _numbers(folder: str, name: str) -> list[int]:
    """The positive numbers of a group's file: none where there is no such file, no number (`max`), or one of no limit (-1)."""
    return _positive(" ".join(_lines(f"{folder}/{name}")).split())


def _positive(words: list[str]) -> list[int]:
    return [int(word) for word in words if word.isdecimal() and int(word) > 0]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _unescaped(path: str) -> str:
    """A path of mountinfo, where blanks and backslashes stand as octal numbers."""
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
