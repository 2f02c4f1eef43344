"""The house rules that a machine can check: data flows down, files are short, nothing forbidden is imported."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "chronosplat"
# a room imports only from itself and from rooms above it
ROOMS = [
    "shapes", "files", "cameras", "gaussians", "render", "captures", "models", "multiview", "sequences", "assets", "data",
    "losses", "metrics", "refine", "train", "evaluate", "export", "pipeline", "demo", "info", "cli",
]  # fmt: skip
NEVER = {"plyfile", "pyiqa", "pickle", "diff_gaussian_rasterization"}
LINES_MOST = 400
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
    weights = PACKAGE / "models" / "shipped" / "4d-lrm-mini.safetensors"
    assert weights.stat().st_size <= 16e6
    card = weights.with_suffix(".md").read_text()
    for word in ("Licence", "Data", "Recipe", "runs/mini.sh", "dB"):
        assert word in card
