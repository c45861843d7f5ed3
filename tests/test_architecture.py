"""Architecture rules, checked on the imports of every module: downward only, no cycles, each library in its package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import facecli

ROOT = Path(facecli.__file__).parent
LEAVES = (
    "boxes",
    "cache",
    "captures",
    "calibrating",
    "config",
    "directories",
    "errors",
    "exports",
    "fingerprint",
    "installation",
    "limits",
    "persons",
    "onnx_loading",
    "regions",
    "reporting",
    "scratch",
    "similarity",
    "system",
    "thresholds",
    "types",
    "whole_files",
    "xmp",
    "xmp_merging",
    "sidecar_files",
    "wording",
)
WORLDS = ("photos", "vision", "store")
MAY_IMPORT = {
    "boxes": (),
    "captures": (),
    "limits": ("captures", "directories", "errors"),
    "exports": ("captures",),
    "regions": ("wording",),
    "xmp": ("errors", "regions"),
    "xmp_merging": ("errors", "regions", "xmp"),
    "sidecar_files": ("errors", "whole_files", "xmp"),
    "whole_files": (),
    "scratch": ("whole_files",),
    "cache": ("directories", "whole_files"),
    "installation": ("errors", "system"),
    "calibrating": ("directories", "errors", "thresholds", "whole_files"),
    "errors": (),
    "wording": (),
    "system": (),
    "types": ("captures", "errors"),
    "reporting": ("types",),
    "persons": ("types",),
    "config": ("types", "errors", "limits"),
    "directories": (),
    "fingerprint": ("config", "errors"),
    "onnx_loading": ("errors", "system"),
    "similarity": ("errors", "onnx_loading", "reporting", "system", "types"),
    "thresholds": ("types", "errors"),
    **dict.fromkeys(WORLDS, LEAVES),
    "pipeline": (*WORLDS, *LEAVES),
    "fleet": ("pipeline", *WORLDS, *LEAVES),
    "indexing": ("fleet", "pipeline", *WORLDS, *LEAVES),
    "output": LEAVES,
    **dict.fromkeys(("merging", "removing"), ("indexing", "pipeline", *WORLDS, *LEAVES)),
    "arguments": ("searching", *LEAVES),
    "naming": ("people", *WORLDS, *LEAVES),
}
"""The imports allowed to each package besides itself. A use case (a module at the top) may import the pipeline and all
below it, cli everything."""
USE_CASE = ("pipeline", *WORLDS, *LEAVES)
_UNDER_MODELS = ("pixels", "runtime", "packs", "detection", "recognition", "devices", "optimization")
_FILES = ("vector_file", "short_codes", "vector_writer")
_UNDER_READER = (
    *("errors", "records", "locate", "disk", *_FILES, "catalog", "people", "search", "maintenance", "write"),
)
INSIDE: dict[str, dict[str, tuple[str, ...]]] = {
    "vision": {
        "pixels": (),
        "runtime": (),
        "packs": ("runtime",),
        "detection": ("pixels", "runtime"),
        "recognition": ("pixels", "runtime"),
        "devices": ("packs", "runtime"),
        "optimization": _UNDER_MODELS[:-1],
        "capacity": ("packs", "recognition"),
        "models": (*_UNDER_MODELS, "capacity"),
    },
    "store": {
        "errors": (),
        "records": (),
        "libraries": (),
        "disk": ("errors",),
        "locate": ("errors",),
        "vector_file": ("errors",),
        "short_codes": ("vector_file",),
        "vector_writer": ("disk", "short_codes", "vector_file"),
        "catalog": ("disk", "errors", "locate", "records", "vector_file"),
        "people": ("catalog", "disk", "errors"),
        "search": ("catalog", "disk", "errors", "records", "short_codes", "vector_file"),
        "maintenance": ("catalog", "disk", "errors", "locate", "people", "records", *_FILES),
        "write": ("catalog", "disk", "errors", "maintenance", "people", "records", *_FILES),
        "reader": _UNDER_READER,
        "writer": (*_UNDER_READER, "reader"),
        "new_index": (*_UNDER_READER, "reader"),
        "merging": (*_UNDER_READER, "reader", "writer"),
    },
}
"""The imports allowed to each sub-package, or module beside sub-packages, within the same package."""
DOORS = {
    "store": ("libraries", "locate", "merging", "new_index", "people", "reader", "records", "short_codes", "writer")
}
"""The modules of a package that other packages may import, where not all are open."""
LIBRARY_IN = {
    "click": ("cli",),
    "tqdm": ("cli",),
    "watchfiles": ("cli",),
    "sqlite3": ("store",),
    "faiss": ("store",),
    "onnxruntime": ("vision",),
    "openvino": ("vision",),
    "insightface": ("vision",),
    "simplejpeg": ("photos",),
    "ray": ("fleet",),
}
FORBIDDEN_NAMES = ("utils", "util", "helpers", "common", "manager", "misc")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_files() -> dict[str, Path]:
    """Every module of facecli by its dotted name."""
    files = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = module_files()


def imports_of(name: str) -> Iterator[tuple[str, int]]:
    """The modules that a module imports anywhere, including lazy and type-checking imports, with their lines."""
    for node in ast.walk(tree_of(MODULES[name])):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in MODULES else node.module), node.lineno


def room_of(module: str) -> str:
    """The top-level package or module that a module of facecli belongs to; empty for facecli itself."""
    return module.split(".")[1] if "." in module else ""


def own_imports(name: str) -> Iterator[tuple[str, int]]:
    return ((target, line) for target, line in imports_of(name) if target == "facecli" or target.startswith("facecli."))


def allowed_rooms(room: str) -> tuple[str, ...] | None:
    """The packages that a package may import; None for all of them."""
    if room in ("cli", "__main__", "library"):  # the entry points
        return None
    if room == "":
        return tuple(sorted({room_of(m) for m in MODULES} - {"", "cli", "__main__"}))
    return MAY_IMPORT.get(room, USE_CASE)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name: str) -> None:
    room = room_of(name)
    allowed = allowed_rooms(room)
    wrong = []
    for target, line in own_imports(name):
        there = room_of(target)
        # The package itself is the public API above everything else; other modules only read its version.
        if there == "":
            wrong += (
                [f"{name}:{line} imports the public API"]
                if room not in ("cli", "__main__") and not reads_version_only(name, line)
                else []
            )
        elif there != room and allowed is not None and there not in allowed:
            wrong.append(f"{name}:{line} imports {target}")
    assert not wrong


def place_in(module: str) -> str:
    """The sub-package or module that a module belongs to: `detection` for facecli.vision.detection.scrfd."""
    return [*module.split("."), "", ""][2]


@pytest.mark.parametrize("name", [name for name in MODULES if room_of(name) in INSIDE and place_in(name)])
def test_arrows_go_down_within_a_room(name: str) -> None:
    room, place = room_of(name), place_in(name)
    assert place in INSIDE[room], "a sub-package needs a line in INSIDE"
    allowed = (place, "", *INSIDE[room][place])
    wrong = [
        (target, line)
        for target, line in own_imports(name)
        if room_of(target) == room and place_in(target) not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("name", MODULES)
def test_rooms_are_entered_by_their_doors(name: str) -> None:
    wrong = [
        (target, line)
        for target, line in own_imports(name)
        if room_of(target) in DOORS
        and room_of(target) != room_of(name)
        and place_in(target) not in ("", *DOORS[room_of(target)])
    ]
    assert wrong == []


def test_every_room_says_what_it_is_for() -> None:
    rooms = [path for path in MODULES.values() if path.name == "__init__.py" and path.parent != ROOT]
    said = {path: ast.get_docstring(tree_of(path)) or "" for path in rooms}
    assert [str(path) for path, text in said.items() if not text or "\n" in text or not text.endswith(".")] == []
    assert [str(path) for path in rooms if len(tree_of(path).body) > 1] == []


def test_no_name_is_defined_twice() -> None:
    """Checks public classes, functions and types; click commands are named as users call them."""
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not any(
                "command" in ast.unparse(d) for d in node.decorator_list
            ):
                homes.setdefault(node.name, []).append(module)
            elif isinstance(node, ast.AnnAssign | ast.Assign) and is_type(node):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                homes.setdefault(ast.unparse(target), []).append(module)
    twice = {
        name: modules
        for name, modules in homes.items()
        if len(modules) > 1 and not name.startswith("_") and name != "main"
    }
    assert twice == {}


def is_type(node: ast.AnnAssign | ast.Assign) -> bool:
    """Whether a statement defines a type alias: CamelCase."""
    name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
    return name[0].isupper() and not name.isupper()


def test_tests_mirror_the_rooms() -> None:
    """A folder of tests has the name of a package, or is on the list of exceptions."""
    apart = {"benchmarks", "fuzz", "golden", "gpu"}
    tests = Path(__file__).parent
    rooms = {"/".join(module.split(".")[1:]) for module, path in MODULES.items() if path.name == "__init__.py"}
    folders = {str(path.parent.relative_to(tests)) for path in tests.rglob("test_*.py")} - {"."}
    assert [folder for folder in folders if folder.split("/")[0] not in apart and folder not in rooms] == []


def reads_version_only(name: str, line: int) -> bool:
    nodes = [
        n
        for n in ast.walk(tree_of(MODULES[name]))
        if isinstance(n, ast.ImportFrom) and n.lineno == line and n.module == "facecli"
    ]
    return bool(nodes) and all(
        alias.name == "__version__" or f"facecli.{alias.name}" in MODULES for node in nodes for alias in node.names
    )


def test_no_cycles() -> None:
    # Importing a module imports its packages, so an edge to the module is also an edge to each package above it,
    # except those that the importing module is in.
    graph = {
        name: {target for target, _ in own_imports(name) if target not in (name, "facecli")}
        for name in MODULES
        if name != "facecli"
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) >= set(graph)


@pytest.mark.parametrize("name", MODULES)
def test_libraries_stay_in_their_rooms(name: str) -> None:
    wrong = [
        f"{name}:{line} imports {target}"
        for target, line in imports_of(name)
        if room_of(name) not in LIBRARY_IN.get(target.partition(".")[0], (room_of(name),))
    ]
    assert not wrong


def calls_of(name: str) -> Iterator[tuple[str, int]]:
    """The names that a module calls (print, sys.exit, …), with their lines."""
    for node in ast.walk(tree_of(MODULES[name])):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


@pytest.mark.parametrize("name", MODULES)
def test_only_the_command_line_exits_and_nobody_prints(name: str) -> None:
    forbidden = {"print"} if room_of(name) == "cli" else {"print", "sys.exit", "exit", "quit", "SystemExit"}
    assert [f"{name}:{line} calls {called}" for called, line in calls_of(name) if called in forbidden] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name != "facecli.cli.streams"])
def test_all_output_goes_through_the_two_streams(name: str) -> None:
    """Output written elsewhere fails on a full disk, a locale or a closed pipe, or sends control codes to terminals."""
    written = (
        "print(",
        "click.echo(",
        "click.secho(",
        "sys.stdout.write",
        "sys.stderr.write",
        "sys.stdout.buffer.",
        "sys.stderr.buffer.",
    )
    assert [
        f"{name}:{line} calls {called}" for called, line in calls_of(name) if f"{called}(".startswith(written)
    ] == []


@pytest.mark.parametrize("name", [name for name in MODULES if room_of(name) != "store"])
def test_sql_stays_in_the_store(name: str) -> None:
    """Readers and writers run any query, and only the store uses that."""
    words = ("SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "PRAGMA ")
    texts = [n for n in ast.walk(tree_of(MODULES[name])) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert [f"{name}:{n.lineno} {n.value}" for n in texts if str(n.value).startswith(words)] == []


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_pickled(name: str) -> None:
    assert {target.partition(".")[0] for target, _ in imports_of(name)}.isdisjoint(
        {"pickle", "marshal", "shelve", "dill", "joblib"}
    )


def test_modules_are_named_for_what_they_hold() -> None:
    assert [name for name in MODULES if name.rpartition(".")[2] in FORBIDDEN_NAMES] == []


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_stay_small(name: str) -> None:
    tree = tree_of(MODULES[name])
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert MODULES[name].read_text("utf-8").count("\n") <= 350
    assert [f"{name}:{f.lineno} {f.name}" for f in functions if lines_of(f) > 60] == []


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The number of lines of a function without its docstring and decorators."""
    documented = ast.get_docstring(function, clean=False) is not None
    first = function.body[0]
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


@pytest.mark.parametrize("name", MODULES)
def test_nothing_happens_at_import(name: str) -> None:
    """The body of a module only defines; it does not open, read or run anything."""
    busy = {"open", "os.makedirs", "os.environ.setdefault", "subprocess.run", "logging.basicConfig"}
    body = [
        n
        for n in tree_of(MODULES[name]).body
        if not isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If)
    ]
    called = {ast.unparse(n.func) for statement in body for n in ast.walk(statement) if isinstance(n, ast.Call)}
    assert called & busy == set()


def test_the_walk_sees_what_it_must() -> None:
    """The check itself: it sees all packages, and would find a forbidden import."""
    assert {"facecli", "facecli.errors", "facecli.cli.main"} <= set(MODULES)
    assert {target for target, _ in imports_of("facecli.cli.main")} >= {"click", "facecli.errors"}
    assert "cli" not in (allowed_rooms("indexing") or ())
    assert "store" not in (allowed_rooms("photos") or ())
    assert place_in("facecli.store.catalog.schema") == "catalog"
    assert INSIDE["store"].keys() >= {place_in(name) for name in MODULES if room_of(name) == "store"} - {""}
