"""The options of `facecli index` that say who does the work: processes on this machine, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from facecli.cli.choices import Checked, number
from facecli.config import BOUNDS, FleetOptions, read_fleet
from facecli.errors import UsageError

OPTIONS = (
    click.option(
        "--processes",
        type=number("processes"),
        metavar="N",
        envvar="FACECLI_PROCESSES",
        show_envvar=True,
        help="Worker processes on this machine; 0 for threads alone. Default by cores and GPUs.",
    ),
    click.option(
        "--fleet",
        type=Checked("local[:N]|auto|ray://HOST:PORT", read_fleet),
        metavar="WHERE",
        envvar="FACECLI_FLEET",
        show_envvar=True,
        help="Let Ray's workers read the photos: local[:N], auto or ray://HOST:PORT (the head's GCS, not Ray Client).",
    ),
    click.option(
        "--workers",
        type=Checked("N|auto", lambda text: 0 if text == "auto" else BOUNDS["workers"].read(text)),
        metavar="N|auto",
        help="With --fleet: workers; default as many as there is room for.",
    ),
    click.option("--worker-gpus", type=number("worker_gpus"), metavar="X", help="With --fleet: GPUs for each worker."),
    click.option("--worker-cpus", type=number("worker_cpus"), metavar="N", help="With --fleet: cores for each worker."),
    click.option(
        "--chunk",
        type=number("chunk"),
        default=0,
        metavar="N",
        help="Photos that a worker gets at once; default about a second's work.",
    ),
)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def fleet_options(given: dict[str, Any]) -> FleetOptions:
    """The fleet that the options ask for; raises UsageError if they contradict each other."""
    named = {name: given[name] for name in ("workers", "worker_gpus", "worker_cpus") if given[name] is not None}
    if not given["fleet"]:
        if named:
            raise UsageError(f"--{next(iter(named)).replace('_', '-')} needs --fleet", "facecli index")
        return FleetOptions()
    if given["processes"] is not None:
        raise UsageError("--processes is for this machine alone, and --fleet for a cluster", "facecli index")
    return FleetOptions(given["fleet"], **named)
