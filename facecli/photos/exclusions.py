"""What is excluded below a directory: patterns of the caller, and `.facecliignore` files, by gitignore's rules."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import pathspec
from msgspec import Struct

from facecli.config import IGNORE_NAME
from facecli.errors import UsageError

MOST_BYTES = 1 << 20
"""The largest `.facecliignore` that is read."""


class IgnoreFileUnusable(Exception):
    """A `.facecliignore` cannot be read, so nobody knows what to pass over; says why."""


Level: TypeAlias = tuple[int, pathspec.GitIgnoreSpec]
"""Patterns with the length of the path that they are relative to."""


class IgnoreRules(Struct, frozen=True):
    """The patterns in force in one directory."""

    given: tuple[Level, ...] = ()
    """Those of the caller, which decide before those of files."""
    files: tuple[Level, ...] = ()
    """Those of the `.facecliignore` files, the one furthest down first."""

    def __bool__(self) -> bool:
        return bool(self.given or self.files)

    def exclude(self, path: str) -> bool:
        """Whether a pattern excludes an absolute path; a directory's ends in a slash."""
        for start, spec in (*self.given, *self.files):
            decided = spec.check_file(path[start:]).include
            if decided is not None:
                return decided
        return False

    def within(self, prefix: str) -> IgnoreRules:
        """The rules in a directory with a `.facecliignore`; its path ends in a slash. Raises IgnoreFileUnusable."""
        return IgnoreRules(self.given, ((len(prefix), _read(prefix + IGNORE_NAME)), *self.files))


class Exclusions:
    """The rules of all directories at and below a base."""

    def __init__(self, base: str, patterns: pathspec.GitIgnoreSpec | None) -> None:
        self._base = base.rstrip("/") + "/"
        start = IgnoreRules(((len(self._base), patterns),) if patterns is not None else ())
        self._branch: list[tuple[str, IgnoreRules]] = [("", start)]
        """The directories above the last path that was asked for, each with the rules below it."""

    def rules_above(self, prefix: str) -> IgnoreRules:
        """The rules for a directory at or below the base: those of the base down to the one above it."""
        return self._rules_in(os.path.dirname(prefix.rstrip("/")).rstrip("/") + "/")

    def hold(self, path: str) -> bool:
        """Whether a path below the base is excluded, itself or a directory above it; fast for ascending paths.

        False where a `.facecliignore` above it cannot be read: then it is not known.
        """
        at = path.find("/", len(self._base)) + 1
        try:
            while at:
                if self._rules_in(path[: path.rfind("/", 0, at - 1) + 1]).exclude(path[:at]):
                    return True
                at = path.find("/", at) + 1
            return self._rules_in(path[: path.rfind("/") + 1]).exclude(path)
        except IgnoreFileUnusable:
            return False

    def _rules_in(self, prefix: str) -> IgnoreRules:
        """The rules for the entries of a directory."""
        branch = self._branch
        while not prefix.startswith(branch[-1][0]):
            branch.pop()
        done, rules = branch[-1]
        at = len(done) if done else len(self._base)
        while at and len(prefix) >= at:
            here = prefix[:at]
            if here != done:
                rules = rules.within(here) if os.path.lexists(here + IGNORE_NAME) else rules
                branch.append((here, rules))
            at = prefix.find("/", at) + 1
        return rules


def compile_patterns(patterns: Sequence[str]) -> pathspec.GitIgnoreSpec | None:
    """The patterns of --exclude; None without any. Raises UsageError where one is none of gitignore's."""
    if not patterns:
        return None
    try:
        return _compile(patterns)
    except ValueError as error:
        raise UsageError("not a pattern for --exclude", str(error), hint="patterns are those of .gitignore") from error


def _compile(lines: Iterable[str]) -> pathspec.GitIgnoreSpec:
    """Compile patterns; raises ValueError.

    In git `a/**` matches all below `a`, but not `a` itself; pathspec takes it to match `a/` as well.
    """
    try:
        return pathspec.GitIgnoreSpec.from_lines(
            f"{line.rstrip()}/*" if line.rstrip().endswith("/**") else line.rstrip("\r") for line in lines
        )
    except re.error as error:  # as for a range that runs backwards
        raise ValueError(str(error)) from error


def _read(path: str) -> pathspec.GitIgnoreSpec:
    """The patterns of a file; raises IgnoreFileUnusable.

    A link is refused, as git does: it could lead to any file, whose lines would appear in messages.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IgnoreFileUnusable("not a regular file")
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise IgnoreFileUnusable(error.strerror or str(error)) from error
    if len(text) > MOST_BYTES:
        raise IgnoreFileUnusable(f"larger than {MOST_BYTES} bytes")
    try:
        return _compile(text.decode("utf-8-sig", "surrogateescape").split("\n"))
    except ValueError as error:
        raise IgnoreFileUnusable(str(error)) from error
