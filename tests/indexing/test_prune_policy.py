"""Which photos count as gone, and which only as unreachable."""

from __future__ import annotations

from pathlib import Path

from facecli.directories import is_gone
from facecli.indexing.prune_policy import Census, is_below, judge_pruning, outermost


def census(root: Path, missed: list[Path], *, known: int, seen: int = 1) -> Census:
    one = Census([str(root)])
    one.known[str(root)], one.seen[str(root)] = known, seen
    one.missed = [(str(path), number) for number, path in enumerate(missed)]
    return one


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    (tmp_path / "here.jpg").touch()
    verdict = judge_pruning(census(tmp_path, [tmp_path / "here.jpg", tmp_path / "away.jpg"], known=5), ask_nobody=False)
    assert verdict.gone == [1]


def test_a_parent_that_became_a_file_leaves_nothing_below_it(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    assert is_gone(str(tmp_path / "folder" / "photo.jpg"))


def test_a_name_that_is_too_long_to_ask_for_proves_nothing(tmp_path: Path) -> None:
    assert not is_gone(str(tmp_path / ("x" * 300)))


def test_nothing_below_an_unlisted_or_unmounted_directory_is_gone(tmp_path: Path) -> None:
    missed = [tmp_path / "locked" / "a.jpg", tmp_path / "disk" / "b.jpg", tmp_path / "disk2" / "c.jpg"]
    one = census(tmp_path, missed, known=9)
    one.unlisted.append(str(tmp_path / "locked"))
    one.unmounted.append(str(tmp_path / "disk"))
    assert judge_pruning(one, ask_nobody=True).gone == [2]


def test_an_empty_root_is_never_all_deleted(tmp_path: Path) -> None:
    verdict = judge_pruning(census(tmp_path, [tmp_path / "a.jpg"], known=1, seen=0), ask_nobody=True)
    assert verdict.gone == []
    assert verdict.emptied == [str(tmp_path)]


def test_most_of_a_large_root_goes_only_when_asked(tmp_path: Path) -> None:
    missed = [tmp_path / f"{i}.jpg" for i in range(120)]
    verdict = judge_pruning(census(tmp_path, missed, known=200), ask_nobody=False)
    assert (verdict.gone, verdict.spared) == ([], {str(tmp_path): 120})
    assert len(judge_pruning(census(tmp_path, missed, known=200), ask_nobody=True).gone) == 120
    assert len(judge_pruning(census(tmp_path, missed, known=240), ask_nobody=False).gone) == 120, (
        "half is not more than half"
    )
    assert len(judge_pruning(census(tmp_path, missed[:99], known=100), ask_nobody=False).gone) == 99, (
        "under a hundred is no alarm"
    )


def test_what_lies_outside_the_roots_stays(tmp_path: Path) -> None:
    assert judge_pruning(census(tmp_path / "root", [tmp_path / "rooted.jpg"], known=5), ask_nobody=True).gone == []


def test_only_the_outermost_directories_count() -> None:
    assert outermost(["/a/b", "/a-b", "/a", "/a/b/c", "/a", "/d/e"]) == ["/a-b", "/a", "/d/e"]
    assert outermost(["/a", "/"]) == ["/"]
    assert outermost([]) == []
    assert Census(["/a/b", "/a"]).roots == ["/a"]


def test_below_means_below() -> None:
    assert is_below("/a/b", "/a")
    assert is_below("/a", "/")
    assert not is_below("/ab", "/a")
    assert not is_below("/a", "/a")
