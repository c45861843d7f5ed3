"""`facecli doctor`: check the installation, and fix problems."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from facecli.cli.choices import Checked
from facecli.cli.options import Common, common_options, model_option
from facecli.cli.streams import results, tell
from facecli.config import read_fleet
from facecli.errors import UsageError
from facecli.output.paths import encoded, printable
from facecli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from facecli.health import DeviceHealth, Health
    from facecli.indexing.fleet_health import FleetHealth, MachineHealth
    from facecli.installation import Conflict
    from facecli.vision.runtime.cuda import Gpu

EPILOG = """\b
Exit codes: 0 healthy, 1 something is wrong.
Examples:
  facecli doctor                check the installation; test each device by an inference
  facecli doctor -m buffalo_l   the same with this model pack
  facecli doctor --fix          run the commands that fix the problems, asking before each
  facecli doctor --json | jq .problems
  facecli doctor --fleet auto   check every machine of the Ray cluster of this one
"""


@click.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--fix", is_flag=True, help="Run the commands that fix the problems, asking before each.")
@click.option("-y", "--yes", is_flag=True, help="With --fix: do not ask.")
@click.option(
    "--fleet",
    type=Checked("local[:N]|auto|ray://HOST:PORT", read_fleet),
    metavar="WHERE",
    help="Check the machines of a Ray cluster instead: version, device, formats, and whether they see the photos.",
)
@model_option("The model pack to test with, a name or a directory.")
@common_options
def doctor(common: Common, *, as_json: bool, fleet: str | None, model: str | None, **mending: bool) -> int:
    """Check devices, libraries and models, and tell how to fix problems."""
    if fleet is not None:
        return _check_fleet(common, fleet, model, as_json=as_json)
    # Imported here, so that --help stays fast.
    from facecli.health import check_health  # noqa: PLC0415
    from facecli.output.records import json_line  # noqa: PLC0415

    fix, yes = mending["fix"], mending["yes"]
    if fix and not yes and not sys.stdin.isatty():
        raise UsageError(
            "--fix asks before each command, but stdin is not a terminal", "facecli doctor", hint="--fix --yes"
        )
    health = check_health(common.console(), model)
    if fix and _mend(health.problems, yes=yes):
        # This process has already loaded the old libraries.
        named = ["--model", model] if model else []
        again = [sys.executable, "-P", "-m", "facecli", "doctor", *named, *(["--json"] if as_json else [])]
        with _empty_folder() as folder:
            return subprocess.run(again, check=False, cwd=folder).returncode  # noqa: S603 (facecli itself)
    with results() as out:
        if as_json:
            out.write(json_line(_record(health)))
        else:
            out.draw(encoded("".join(f"{line}\n" for line in _lines(health, colour=common.colour))))
    return 0 if health.healthy else 1


def _check_fleet(common: Common, fleet: str, model: str | None, *, as_json: bool) -> int:
    """Report on the machines of a cluster; returns the exit code."""
    import os  # noqa: PLC0415 (this and the rest are not for --help)

    from facecli.config import FleetOptions  # noqa: PLC0415
    from facecli.indexing.fleet_health import check_fleet  # noqa: PLC0415
    from facecli.output.records import json_line  # noqa: PLC0415
    from facecli.store.locate import place_index  # noqa: PLC0415

    health = check_fleet(FleetOptions(fleet), str(place_index(common.index, os.getcwd())), model)
    with results() as out:
        if as_json:
            out.write(json_line(to_builtins(health) | {"healthy": health.healthy}))
        else:
            out.draw(encoded("".join(f"{line}\n" for line in _fleet_lines(health, colour=common.colour))))
    return 0 if health.healthy else 1


def _fleet_lines(health: FleetHealth, *, colour: bool) -> list[str]:
    rows = [_machine_row(machine, bool(health.roots)) for machine in health.machines]
    lines = [*_title(f"Machines of {health.fleet}", colour)[1:], *_table(rows)]
    return [*lines, "", _style("healthy", "green", colour)] if health.healthy else lines


def _machine_row(machine: MachineHealth, has_roots: bool) -> tuple[str, ...]:  # noqa: FBT001 (one switch of one row)
    size = f"{counted(machine.cpus, 'core')}, {counted(machine.gpus, 'GPU')}"
    if not machine.facecli:
        return machine.machine, size, "", "", "", machine.trouble
    sight = "sees the photos" if has_roots else "works"
    readers = ", ".join(machine.readers) or "no optional formats"
    return machine.machine, size, f"facecli {machine.facecli}", machine.device, readers, machine.trouble or sight


def _mend(problems: Sequence[Conflict], *, yes: bool) -> bool:
    """Run the commands that fix the problems; whether any was run."""
    ran = False
    for problem in problems:
        if not problem.commands:
            continue
        tell(problem.what)
        tell(f"  {problem.mend}")
        if not yes and not click.confirm("Run it?", err=True):
            continue
        for command in problem.commands:
            ran = True
            if not _succeeds(command):
                break
    return ran


def _empty_folder() -> AbstractContextManager[str | Path]:
    """Create an empty folder to run commands in, away from modules and settings files of the working directory."""
    import tempfile  # noqa: PLC0415 (not for --help)

    from facecli.cache import cache_folder  # noqa: PLC0415
    from facecli.scratch import scratch_folder  # noqa: PLC0415

    cache = cache_folder("graphs")
    return scratch_folder(cache) if cache else tempfile.TemporaryDirectory()


def _succeeds(command: Sequence[str]) -> bool:
    """Run a command with its output on stderr, since stdout is for the report; whether it succeeded."""
    try:
        with _empty_folder() as folder:
            return not subprocess.run(command, check=False, stdout=sys.stderr, cwd=folder).returncode  # noqa: S603 (shown and agreed to)
    except FileNotFoundError as error:
        hint = f"{shlex.join([sys.executable, '-P', '-m', 'ensurepip'])} installs pip into this environment"
        raise UsageError("the program that would fix it is not installed", command[0], hint=hint) from error


def _lines(health: Health, *, colour: bool) -> list[str]:
    """The report for people."""
    lines = [*_title("Versions", colour)[1:], *_table([(name, version) for name, version in health.versions.items()])]
    lines += [
        *_title("Devices", colour),
        *_table([_device_row(d) for d in health.devices]),
        f"  auto uses {health.automatic or 'nothing'}",
    ]
    if health.gpus:
        lines += [*_title("Memory of GPUs", colour), *_table([_gpu_row(gpu) for gpu in health.gpus])]
    lines += [*_title("FAISS", colour), *_faiss_lines(health)]
    lines += [*_title("Model packs", colour)]
    lines += _table([(p.name, str(p.presence), p.licence, p.directory) for p in health.packs if p.files])
    cache = health.cache
    state = "" if cache.writable else ", cannot be written"
    lines += [*_title("Cache", colour), printable(f"  {cache.directory}  {cache.size / 1e6:.1f} MB{state}"), ""]
    for advice in health.advice:
        lines += [printable(f"hint: {advice.what}"), printable(f"  {advice.mend}")]
    for problem in health.problems:
        lines += [
            _style(f"problem: {problem.what}", "red", colour),
            printable(f"  {problem.mend or 'no command fixes this'}"),
        ]
    if health.healthy:
        return [*lines, _style("healthy", "green", colour)]
    return [*lines, "", "`facecli doctor --fix` runs these commands and asks before each."]


def _faiss_lines(health: Health) -> list[str]:
    faiss = health.faiss
    if faiss is None:
        return ["  cannot be loaded"]
    return [f"  {faiss.version}  {faiss.options}  {faiss.gpus} GPU{'' if faiss.gpus == 1 else 's'}"]


def _device_row(device: DeviceHealth) -> tuple[str, ...]:
    if not device.photos_per_second:
        return device.name, device.provider, device.state
    cosine = f"cosine {device.detector_cosine:.5f} detector, {device.recogniser_cosine:.5f} recogniser"
    return device.name, device.provider, device.state, f"about {device.photos_per_second:.0f} photos/s", cosine


def _gpu_row(gpu: Gpu) -> tuple[str, ...]:
    return f"cuda:{gpu.number}", gpu.name, gpu.memory


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Align the columns of rows."""
    rows = [tuple(map(printable, row)) for row in rows]
    columns = max((len(row) for row in rows), default=0)
    widths = [max((len(row[n]) for row in rows if n < len(row)), default=0) for n in range(columns)]
    return ["  " + "  ".join(cell.ljust(widths[n]) for n, cell in enumerate(row)).rstrip() for row in rows]


def _title(text: str, colour: bool) -> list[str]:  # noqa: FBT001 (one switch of one private function)
    return ["", click.style(text, bold=True) if colour else text]


def _style(text: str, name: str, colour: bool) -> str:  # noqa: FBT001 (as above)
    text = printable(text)
    return click.style(text, fg=name) if colour else text


def _record(health: Health) -> dict[str, Any]:
    """The report for scripts."""
    record: dict[str, Any] = to_builtins(health) | {"healthy": health.healthy}
    for name in ("problems", "advice"):
        record[name] = [{"what": c.what, "command": c.mend} for c in getattr(health, name)]
    return record
