"""A reporter that records its messages."""

from __future__ import annotations

from facecli.reporting import SilentReporter


class Notes(SilentReporter):
    """Records the warnings, and the messages that --verbose shows."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.details: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def detail(self, message: str) -> None:
        self.details.append(message)
