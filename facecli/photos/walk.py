"""Walk a directory tree in the order of the bytes of its paths, with only the present branch in memory."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, field

from facecli.config import IGNORE_NAME, OUTPUT_NAME, ScanOptions
from facecli.photos.exclusions import Exclusions, IgnoreFileUnusable, IgnoreRules
from facecli.photos.files import refused
from facecli.photos.kinds import IMAGE, is_hidden, kind_by_name
from facecli.photos.mounts import FileSystems, mounts_below
from facecli.photos.sniff import HEAD, sniff
from facecli.types import PhotoFile, Skipped, SkipReason

OTHER_PART = "of another part"
_DIRECTORY = "directory"
_IGNORE, _OUTPUT = IGNORE_NAME.encode(), OUTPUT_NAME.encode()
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def everything(_path: str) -> bool:
    """The choice of all files."""
    return True


class Findings(Struct):
    """The results of walks other than photos."""

    unlisted: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    """Directories that facecli made for its own output, which are passed over."""
    ignored: Counter[str] = field(default_factory=Counter)
    systems: FileSystems = field(default_factory=FileSystems)


class _Folder(Struct):
    """A directory on the present branch."""

    prefix: str
    """Its path with a slash at the end."""
    device: int
    names: list[bytes]
    """Names still to visit, the next one last; a directory's name ends in a slash, so that its contents come in the
    order of their paths."""
    doubtful: set[bytes]
    """Names that do not show the kind of the file."""
    rules: IgnoreRules


class Walk:
    """The photos below one root."""

    def __init__(
        self,
        root: str,
        options: ScanOptions,
        findings: Findings,
        *,
        exclusions: Exclusions,
        leave_out: Sequence[str],
    ) -> None:
        self._root = root if root.endswith("/") else root + "/"
        self._options = options
        self._findings = findings
        self._exclusions = exclusions
        self.wanted: Callable[[str], bool] = everything
        """Whether a file, by its path, is to be looked at."""
        self._leave_out = frozenset(leave_out)
        self._left_out = {i for i in map(_identity, leave_out) if i is not None}
        self._mounts = mounts_below(root)
        self._entered: set[tuple[int, int]] = set()
        """The directories that were entered; only recorded if links are followed."""

    def __iter__(self) -> Iterator[PhotoFile | Skipped]:
        entered = self._enter(self._root, None)
        if isinstance(entered, Skipped):
            yield entered
        way = [entered] if isinstance(entered, _Folder) else []
        while way:
            folder = way[-1]
            if not folder.names:
                way.pop()
                continue
            name = folder.names.pop()
            path = folder.prefix + name.decode(_ENCODING, _ERRORS)
            item = (
                self._enter(path, folder) if name[-1:] == b"/" else self._look(path, doubtful=name in folder.doubtful)
            )
            if isinstance(item, _Folder):
                way.append(item)
            elif item is not None:
                yield item

    def _enter(self, prefix: str, above: _Folder | None) -> _Folder | Skipped | None:
        """List a directory; None if it is to be ignored or gone."""
        path = prefix[:-1] or "/"
        try:
            state = os.stat(prefix)
            if self._is_left_out(path, state, is_root=above is None):
                return None
            if above is not None and (state.st_dev != above.device or path in self._mounts):
                self._findings.mounts.append(path)
            rules = above.rules if above is not None else self._exclusions.rules_above(prefix)
            folder = _Folder(prefix, state.st_dev, [], set(), rules)
            self._list(folder)
        except (FileNotFoundError, NotADirectoryError):
            self._findings.ignored["gone"] += 1
            return None
        except OSError as error:
            self._findings.unlisted.append(path)
            return Skipped(
                PhotoFile(prefix, 0, 0), refused(error).reason, f"the directory cannot be listed: {error.strerror}"
            )
        except IgnoreFileUnusable as error:
            self._findings.unlisted.append(path)
            why = f"the directory is passed over, since its {IGNORE_NAME} cannot be used: {error}"
            return Skipped(PhotoFile(prefix, 0, 0), SkipReason.UNAVAILABLE, why)
        return folder

    def _is_left_out(self, path: str, state: os.stat_result, *, is_root: bool) -> bool:
        identity = (state.st_dev, state.st_ino)
        if path in self._leave_out or identity in self._left_out:
            return True
        if self._options.follow_symlinks:
            if identity in self._entered or (
                not is_root and os.path.islink(path) and self._comes_anyway(os.path.realpath(path))
            ):
                self._findings.ignored["directory met before"] += 1
                return True
            self._entered.add(identity)
        return False

    def _comes_anyway(self, real: str) -> bool:
        """Whether the walk reaches `real` without a link, so that its photos have paths without links."""
        root = os.path.realpath(self._root)
        below = root if root.endswith("/") else root + "/"
        if not real.startswith(below):
            return real == root
        parts = real[len(below) :].split("/")
        if any(is_hidden(os.fsencode(part)) for part in parts):
            return False
        return not self._exclusions.hold(self._root + real[len(below) :] + "/")

    def _list(self, folder: _Folder) -> None:
        """Fill in the entries of a directory that are to be visited."""
        ignored, names = self._findings.ignored, folder.names
        special = set()
        with os.scandir(os.fsencode(folder.prefix)) as entries:
            for entry in entries:
                name = entry.name
                if is_hidden(name):
                    ignored["hidden"] += 1
                    if name in (_IGNORE, _OUTPUT):
                        special.add(name)
                    continue
                kind = (
                    kind_by_name(name) if entry.is_file(follow_symlinks=False) else self._kind_of_no_file(entry, name)
                )
                if kind is IMAGE:
                    names.append(name)
                elif kind is None:
                    names.append(name)
                    folder.doubtful.add(name)
                elif kind is _DIRECTORY:
                    names.append(name + b"/")
                else:
                    ignored[kind] += 1
        if _OUTPUT in special and folder.prefix != self._root:
            self._findings.outputs.append(folder.prefix)
            names.clear()
        if _IGNORE in special:
            folder.rules = folder.rules.within(folder.prefix)
        if folder.rules:
            self._drop_excluded(folder)
        names.sort(reverse=True)

    def _kind_of_no_file(self, entry: os.DirEntry[bytes], name: bytes) -> str | None:
        """The kind of an entry that is not a regular file: directories and linked files are visited, others counted."""
        linked = entry.is_symlink()
        try:
            mode = entry.stat().st_mode
        except OSError:
            return "broken link" if linked else "gone"
        if stat.S_ISREG(mode):
            return kind_by_name(name)
        if not stat.S_ISDIR(mode):
            return "pipe, socket or device"
        if linked and not self._options.follow_symlinks:
            return "link to a directory"
        return _DIRECTORY if self._options.recursive else "directory, not recursive"

    def _drop_excluded(self, folder: _Folder) -> None:
        names = folder.names
        kept = [name for name in names if not folder.rules.exclude(folder.prefix + name.decode(_ENCODING, _ERRORS))]
        self._findings.ignored["excluded"] += len(names) - len(kept)
        names[:] = kept

    def _look(self, path: str, *, doubtful: bool) -> PhotoFile | Skipped | None:
        """Stat a file that may be an image; if its name does not show its kind, its first bytes do."""
        if not self.wanted(path):
            self._findings.ignored[OTHER_PART] += 1
            return None
        try:
            state = os.stat(path)
            if doubtful and not _begins_as_image(path, state):
                self._findings.ignored["of an unknown kind"] += 1
                return None
        except OSError as error:
            refusal = refused(error)
            if refusal.reason is not SkipReason.VANISHED:
                return refusal.skip(PhotoFile(path, 0, 0))
            self._findings.ignored["gone"] += 1
            return None
        return self._findings.systems.file_at(path, state)


def _begins_as_image(path: str, state: os.stat_result) -> bool:
    if not stat.S_ISREG(state.st_mode) or not state.st_size:
        return False
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return sniff(os.read(handle, HEAD)) is not None
    finally:
        os.close(handle)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino
