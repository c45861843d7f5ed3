"""Processors and memory, with fake cgroup trees as in containers and services, and on this machine."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import facecli
from facecli.system import count_processors, usable_memory

V2 = "31 23 0:28 {base} /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 31 0:30 {base} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}"
GB = 1 << 30
Put = Callable[..., str]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """A function that makes a cgroup tree and returns its root, with 64 processors by affinity and 256 GB of memory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 256 * GB // 4096, "SC_PAGE_SIZE": 4096}[name])

    def make(mounts: list[str], groups: list[str], files: dict[str, str]) -> str:
        own = {
            "proc/self/mountinfo": "\n".join(["22 1 8:1 / / rw - ext4 /dev/sda1 rw", *mounts]),
            "proc/self/cgroup": "\n".join(groups),
        }
        for name, text in (own | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")
        return str(tmp_path)

    return make


@pytest.mark.parametrize(
    ("files", "processors", "memory"),
    [
        ({}, 64, 256 * GB),
        ({"cpu.max": "max 100000", "memory.max": "max"}, 64, 256 * GB),
        ({"a/b/cpu.max": "200000 100000", "a/b/memory.max": str(4 * GB)}, 2, 4 * GB),
        ({"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000", "a/memory.max": str(GB)}, 2, GB),
        (
            {
                "a/cpu.max": "800000 100000",
                "a/b/cpu.max": "300000 100000",
                "a/memory.max": str(2 * GB),
                "a/b/memory.max": str(3 * GB),
            },
            3,
            2 * GB,
        ),
        ({"cpu.max": "10000 100000", "a/b/memory.high": str(GB)}, 1, GB),
        ({"a/b/c/cpu.max": "100000 100000", "other/cpu.max": "100000 100000", "other/memory.max": "1"}, 64, 256 * GB),
        ({"a/b/cpu.max": "nonsense", "a/b/memory.max": "-5"}, 64, 256 * GB),
    ],
    ids=["no limits", "max", "its own", "above it", "the least", "a share of one, and high", "of others", "nonsense"],
)
def test_every_group_above_counts(files: dict[str, str], processors: int, memory: int, put: Put) -> None:
    root = put([V2.format(base="/")], ["0::/a/b"], files)
    assert (count_processors(root), usable_memory(root)) == (processors, memory)


def test_the_older_version_has_a_tree_for_each_controller(put: Put) -> None:
    mounts = [
        V1.format(base="/", name="cpu,cpuacct"),
        V1.format(base="/", name="memory"),
        V2.format(base="/").replace("/cgroup rw", "/cgroup/unified rw"),
    ]
    files = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "250000",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/job/step/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/job/step/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/service/memory.limit_in_bytes": str(8 * GB),
    }
    root = put(mounts, ["4:memory:/service", "2:cpu,cpuacct:/job/step", "0::/"], files)
    assert (count_processors(root), usable_memory(root)) == (3, 8 * GB)


def test_in_a_container_the_top_is_its_own_group(put: Put) -> None:
    """With cgroup v1 without a namespace, the path is the host's and the group itself is mounted at the top."""
    mounts = [V1.format(base="/docker/123", name="cpu"), V1.format(base="/docker/123", name="memory")]
    files = {
        "cpu/cpu.cfs_quota_us": "200000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/memory.stat": f"cache 0\nhierarchical_memory_limit {2 * GB}\nrss 0",
    }
    root = put(mounts, ["2:memory:/docker/123", "1:cpu:/docker/123"], files)
    assert (count_processors(root), usable_memory(root)) == (2, 2 * GB)


@pytest.mark.parametrize("group", ["/../../elsewhere", "/kubepods/pod1/abc", "/"])
def test_a_group_that_is_not_below_what_is_mounted_leaves_the_mounted_one(group: str, put: Put) -> None:
    root = put([V2.format(base="/kubepods/pod2")], [f"0::{group}"], {"cpu.max": "200000 100000", "memory.max": str(GB)})
    assert (count_processors(root), usable_memory(root)) == (2, GB)


def test_a_group_with_a_blank_in_the_place_of_its_mount(put: Put) -> None:
    root = put(
        [V2.format(base="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/my\\040groups")],
        ["0::/a"],
        {"my groups/a/cpu.max": "100000 100000"},
    )
    assert count_processors(root) == 1


def test_without_control_groups_affinity_and_the_machine_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6})
    assert count_processors(str(tmp_path)) == 3
    assert usable_memory(str(tmp_path)) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_this_machine_has_both() -> None:
    assert 1 <= count_processors() <= (os.cpu_count() or 1)
    assert 1 << 20 < usable_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_nobody_else_counts_processors_or_memory() -> None:
    asked = {"os.cpu_count", "os.sched_getaffinity", "os.process_cpu_count", "multiprocessing.cpu_count", "os.sysconf"}
    package = Path(facecli.__file__).parent
    found = {
        (path.relative_to(package).as_posix(), ast.unparse(node))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in asked)
        or (isinstance(node, ast.Constant) and "/cgroup" in str(node.value))
    }
    # The clock's ticks are not memory.
    assert {name for name, _ in found - {("cli/interrupt.py", "os.sysconf")}} == {"system.py"}
