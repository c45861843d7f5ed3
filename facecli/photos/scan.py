"""Find photos in directories, named files and lists, in the order of their paths."""

from __future__ import annotations

import heapq
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

from facecli.config import ScanOptions
from facecli.directories import absolute
from facecli.errors import UsageError
from facecli.photos.exclusions import Exclusions, compile_patterns
from facecli.photos.files import stat_photo
from facecli.photos.walk import OTHER_PART, Findings, Walk, everything
from facecli.types import PhotoFile, Skipped

_LONGEST_NAME = 1 << 15
"""Bytes; systems allow a path of 4096."""


class Scan:
    """One walk over all given directories, files and lists; can be iterated once.

    The paths are strictly ascending by their bytes, each path once, even if roots overlap. A file that was named itself
    is always yielded: its content decides, not its name. A directory that cannot be listed is yielded as Skipped, with
    a path that ends in a slash.

    `within` are directories of earlier runs: patterns to exclude are relative to the one that holds a root, so that
    they mean the same for the whole and for a part of it. A root is scanned even where they exclude it.
    """

    def __init__(
        self,
        roots: Sequence[str],
        options: ScanOptions,
        *,
        listed: Sequence[str] = (),
        leave_out: Sequence[str] = (),
        within: Sequence[str] = (),
    ) -> None:
        self.missing_roots: list[str] = []
        """Paths of `roots` that do not exist."""
        self.directories: list[str] = []
        """Paths of `roots` that are directories."""
        self._findings = Findings()
        self._options = options
        self._leave_out = leave_out
        self.wanted: Callable[[str], bool] = everything
        """Decides by the paths of files which of those found are looked at."""
        self._patterns = compile_patterns(options.exclude)
        self._files = [*self._sort_out(dict.fromkeys(roots)), *listed]
        self.excluded_roots: list[str] = []
        """Those of `directories` that are scanned although patterns exclude them."""
        self._exclusions = {root: self._exclusions_of(root, within) for root in self.directories}

    @property
    def unlisted(self) -> list[str]:
        """Directories that could not be listed."""
        return self._findings.unlisted

    @property
    def mounts(self) -> list[str]:
        """Directories below a root that are mount points."""
        return self._findings.mounts

    @property
    def outputs(self) -> list[str]:
        """Directories that facecli made for its own output, which were passed over."""
        return self._findings.outputs

    @property
    def ignored(self) -> Counter[str]:
        """How many files of each kind were ignored."""
        return self._findings.ignored

    def __iter__(self) -> Iterator[PhotoFile | Skipped]:
        walks: list[Iterable[PhotoFile | Skipped]] = [self._walk(root) for root in self.directories]
        if self._files:
            walks.append(self._look_at_files())
        if len(walks) == 1:
            yield from walks[0]
            return
        previous = None
        for item in heapq.merge(*walks, key=_path_bytes):
            path = item.file.path if isinstance(item, Skipped) else item.path
            if path != previous:
                yield item
            previous = path

    def excludes(self, path: str) -> bool:
        """Whether the patterns and `.facecliignore` files exclude a path below one of the directories."""
        above = [exclusions for root, exclusions in self._exclusions.items() if path.startswith(root.rstrip("/") + "/")]
        return bool(above) and all(exclusions.hold(path) for exclusions in above)

    def _walk(self, root: str) -> Walk:
        exclusions = self._exclusions[root]
        walk = Walk(root, self._options, self._findings, exclusions=exclusions, leave_out=self._leave_out)
        walk.wanted = self.wanted
        return walk

    def _exclusions_of(self, root: str, within: Sequence[str]) -> Exclusions:
        bases = [base for base in within if root.startswith(base.rstrip("/") + "/")]
        exclusions = Exclusions(min(bases, key=len, default=root), self._patterns)
        if bases and exclusions.hold(root + "/"):
            self.excluded_roots.append(root)
            return Exclusions(root, self._patterns)
        return exclusions

    def _sort_out(self, roots: Iterable[str]) -> Iterator[str]:
        """Yield the files among the roots, and record the missing roots and the directories."""
        for root in roots:
            try:
                state = os.stat(root)
            except PermissionError:
                yield root
            except (OSError, ValueError):
                self.missing_roots.append(root)
            else:
                if stat.S_ISDIR(state.st_mode):
                    self.directories.append(root)
                else:
                    yield root

    def _look_at_files(self) -> Iterator[PhotoFile | Skipped]:
        for path in sorted(set(self._files), key=os.fsencode):
            if os.path.isdir(path):  # output of find lists directories too, and the files in them separately
                self._findings.ignored["directory in a list"] += 1
            elif not self.wanted(path):
                self._findings.ignored[OTHER_PART] += 1
            else:
                yield stat_photo(path, self._findings.systems)


def _path_bytes(item: PhotoFile | Skipped) -> bytes:
    return os.fsencode(item.file.path if isinstance(item, Skipped) else item.path)


def read_list(stream: BinaryIO, *, nul: bool, base: str) -> list[str]:
    """The absolute paths in a list, one per line or, with `nul`, NUL-terminated; relative paths start at `base`.

    An empty name stays empty, so that the caller can refuse it: as an absolute path it would be `base`.
    """
    return [absolute(os.path.join(base, name)) if name else "" for name in names_in(stream, nul=nul)]


def names_in(stream: BinaryIO, *, nul: bool) -> list[str]:
    """The names in a list as they are written, one per line or, with `nul`, NUL-terminated.

    Raises UsageError for what no file can be called: a list of the other kind would be one name of any length.
    """
    end = b"\0" if nul else b"\n"
    text = stream.read()
    names = text.removesuffix(end).split(end) if text else []
    for place, name in enumerate(names, 1):
        if b"\0" in name or len(name) > _LONGEST_NAME:
            hint = "-0 is for names that end in NUL, like those of find -print0, and only for them"
            raise UsageError("what no file can be called", f"entry {place} of a list", hint=hint)
    return list(map(os.fsdecode, names))
