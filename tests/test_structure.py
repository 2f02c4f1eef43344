"""The house rules that a machine can check: data flows down, files are short, nothing forbidden is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "chronosplat"
# a room imports only from itself and from rooms above it
ROOMS = [
    "shapes", "events", "files", "memory", "cameras", "scenes", "render", "captures", "models", "multiview", "sequences", "assets", "data",
    "losses", "metrics", "refine", "train", "evaluate", "meshes", "viewer", "export", "edit", "live", "pipeline", "demo", "info", "cli",
    "__main__",
]  # fmt: skip
NEVER = {"plyfile", "pyiqa", "pickle", "diff_gaussian_rasterization"}
LINES_MOST = 400
OTHERS_OPTIONS = {
    "--error-unmatch", "--always", "--dirty", "--abbrev",  # git, in evaluate/benchmark.py
    "--background", "--factory-startup", "--python-exit-code", "--python",  # Blender, in assets/blender.py
}  # fmt: skip
SOURCES = sorted(p for p in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, late imports included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_data_flows_down(path: Path) -> None:
    if path == PACKAGE / "__init__.py":  # the public face stands on all rooms
        return
    here = ROOMS.index(room(path))
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "chronosplat" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= here, f"{path} imports {name}, a room below it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_name_rooms(path: Path) -> None:
    """Else the test above would not see them: no relative imports, and nothing but the version from the public face."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import in line {node.lineno}"
            if node.module == "chronosplat":
                assert {alias.name for alias in node.names} <= {*ROOMS, "__version__"}, f"{path}: line {node.lineno}"


def module(path: Path) -> str:
    """The full name of a file's module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_imports(path: Path, modules: Collection[str]) -> set[str]:
    """The modules that a file imports when it runs: of ``from room import file`` the file, of any other name its module."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {full if (full := f"{node.module}.{alias.name}") in modules else node.module for alias in node.names}
    return names


def test_files_do_not_import_each_other_in_circles() -> None:
    """Late imports count, and so does a file of a room that imports from the room's face, which imports the file."""
    modules = {module(path): path for path in SOURCES}
    edges = {name: runtime_imports(path, modules) & modules.keys() - {name} for name, path in modules.items()}
    edges["chronosplat"] = set()  # the public face imports late, on first use
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(edges[name]):
                visit(other, [*way, name])
            done.add(name)

    for name in sorted(modules):
        visit(name, [])


def test_only_the_scene_room_tells_kinds_of_scene_apart() -> None:
    for path in SOURCES:
        if room(path) != "scenes":
            found = re.findall(r"isinstance\([^)]*Gaussian\w*[^)]*\)", path.read_text())
            assert not found, f"{path}: {found}"


def test_the_library_speaks_of_arguments_and_not_of_flags() -> None:
    """Flags are the command line's, which writes them from the arguments of a message."""
    for path in SOURCES:
        if room(path) == "cli":
            continue
        tree = ast.parse(path.read_text())
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                flag = re.search(r"(?<![\w-])--[a-z][\w-]*", node.value)
                assert not flag or flag[0] in OTHERS_OPTIONS, f"{path}: line {node.lineno}: {flag and flag[0]}"


def sources(part: str) -> list[Path]:
    """The files of a part of the package, of which there are some."""
    target = PACKAGE / part
    found = sorted(target.rglob("*.py")) if target.is_dir() else [target]
    assert found, part
    return found


def test_models_know_nothing_of_rendering_or_training() -> None:
    for path in sources("models"):
        below = {"render", "losses", "data", "train", "export"}
        assert not {n.split(".")[1] for n in imported(path) if n.startswith("chronosplat.")} & below, path


def test_training_imports_no_cli_and_no_video() -> None:
    for part in ("train", "data/bank.py", "data/clips.py", "data/sampling.py", "models", "losses.py"):
        for path in sources(part):
            assert not {n.split(".")[0] for n in imported(path)} & {"av", "tyro", "rich"}, path


def test_nothing_forbidden_is_imported() -> None:
    assert len(SOURCES) > 50
    for path in SOURCES:
        assert not {n.split(".")[0] for n in imported(path)} & NEVER, path
        assert "torch.load(" not in path.read_text(), path


def test_files_are_short() -> None:
    native = [p for p in (ROOT / "native").iterdir() if p.suffix in (".cpp", ".h", ".py")]
    for path in [*SOURCES, *native, *(ROOT / "tests").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= LINES_MOST, path


def test_every_public_function_has_a_docstring() -> None:
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and [ast.unparse(d) for d in node.decorator_list] == ["overload"]:
                continue  # the one that is carried out has it
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"


def test_the_shipped_weights_are_small_and_described() -> None:
    weights = PACKAGE / "models" / "lrm4d" / "shipped" / "4d-lrm-mini.safetensors"
    assert weights.stat().st_size <= 16e6
    card = weights.with_suffix(".md").read_text()
    for word in ("Licence", "Data", "Recipe", "runs/mini.sh", "dB"):
        assert word in card
