"""The processors and the memory that this process may use, by CPU affinity and by all its cgroups (v1 and v2)."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator

ROOT = "/"
MEMORY_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
"""Files of a cgroup; the last is of v1."""


_LACKING = re.compile(
    "failed to map segment|out of memory|bad_alloc|cannot allocate|failed to allocate|not enough memory|"
    "can't start new thread|too many open files",
    re.IGNORECASE,
)
"""What the loader of libraries, C++, Python and the system say where memory, threads or handles are lacking."""


def is_lack(error: BaseException) -> bool:
    """Whether an error means only that the system has too little memory or too few file handles at the moment."""
    return isinstance(error, MemoryError) or _LACKING.search(str(error)) is not None


def count_processors(root: str = ROOT) -> int:
    """Count the usable processors: the lower of the affinity and the smallest quota of the cgroups, rounded up."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([here, *(math.ceil(quota) for folder in _folders("cpu", root) for quota in _quotas(folder))]))


def usable_memory(root: str = ROOT) -> int:
    """Usable memory in bytes: the lower of the machine's memory and the smallest limit of the cgroups."""
    here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([here, *(limit for folder in _folders("memory", root) for limit in _memory_limits(folder))])


def _quotas(folder: str) -> Iterator[float]:
    """Yield the processor quota of a cgroup; nothing if it sets no limit."""
    one, two = (
        _numbers(folder, "cpu.max"),
        [*_numbers(folder, "cpu.cfs_quota_us"), *_numbers(folder, "cpu.cfs_period_us")],
    )
    yield from (quota / period for quota, period in (n for n in (one, two) if len(n) == 2))


def _memory_limits(folder: str) -> Iterator[int]:
    """Yield the memory limits of a cgroup, with the limit of parent cgroups that a container does not see."""
    for name in MEMORY_LIMITS:
        yield from _numbers(folder, name)
    for line in _lines(f"{folder}/memory.stat"):
        if line.startswith("hierarchical_memory_limit "):
            yield from _positive(line.split()[1:])


def _folders(controller: str, root: str) -> Iterator[str]:
    """Yield the folders of this process's cgroups for a controller, outermost first."""
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
    """Map each v1 controller to this process's cgroup, and the empty name to its v2 cgroup."""
    found: dict[str, str] = {}
    for line in _lines(f"{root}/proc/self/cgroup"):
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        found |= dict.fromkeys(controllers.split(","), group)
    return found


def _paths(base: str, group: str) -> list[list[str]]:
    """The relative paths from the mounted cgroup, `base`, down to `group`; only `base` if `group` is not below it."""
    above, parts = base.strip("/").split("/"), group.strip("/").split("/")
    above = [part for part in above if part]
    below = [part for part in parts[len(above) :] if part] if parts[: len(above)] == above and ".." not in parts else []
    return [below[:depth] for depth in range(len(below) + 1)]


def _numbers(folder: str, name: str) -> list[int]:
    """The positive numbers in a cgroup's file; none if the file is missing or sets no limit (`max`, -1)."""
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
    """Decode a path of mountinfo, which writes blanks and backslashes as octal escapes."""
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
