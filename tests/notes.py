"""A reporter that keeps what it is told."""

from __future__ import annotations

from facecli.reporting import SilentReporter


class Notes(SilentReporter):
    """Keeps the warnings, and what --verbose would show."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.details: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def detail(self, message: str) -> None:
        self.details.append(message)
