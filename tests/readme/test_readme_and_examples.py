"""The commands of the README and the examples run as printed."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RECIPES = sorted((ROOT / "runs").glob("*.sh"))


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    split = alternating_canonical(procedural_object(1, "blob"), 32, times=6, samples=1)
    save_transforms(split.inputs, tmp_path / "outputs/demo/capture", "train")
    code = re.search(r"```python\n(.*?)```", README, re.S)
    assert code is not None
    exec(compile(code.group(1), "README.md", "exec"), {})
    assert "torch.Size" in capsys.readouterr().out
    assert (tmp_path / "scene.safetensors").is_file()
    assert (tmp_path / "fox" / "frame_0000.ply").is_file()


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The help of a verb, in which names of options are whole; fails for a verb that is not there."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*verb.split(), "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.startswith(f"usage: chronosplat {verb} "), f"no such verb: {verb}"
    return text


def check_commands(commands: list[str], capsys: pytest.CaptureFixture[str]) -> set[str]:
    """That the verbs of commands, and the options that they use, exist; returns the verbs."""
    verbs = set()
    for command in commands:
        words = command.split()
        verb = " ".join(words[: 2 if words[0] == "data" else 1])
        verbs.add(verb)
        known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_of(verb, capsys)))
        options = {word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word)}
        assert options <= known, f"{command}: unknown options {sorted(options - known)}"
    return verbs


def test_every_command_of_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"`chronosplat ([a-z][^`]*)`", README)
    commands += [f"reconstruct {options}" for options in re.findall(r"`\.\.\. ([^`]*)`", README)]
    assert check_commands(commands, capsys) >= {"reconstruct", "data render", "export", "train", "info", "eval", "multiview"}
    targets = re.findall(r"^make (\w+)", README, re.M)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target


def test_links_of_the_readme_point_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target


def test_examples_are_numbered() -> None:
    assert len(EXAMPLES) >= 5
    assert [path.name.split("_")[0] for path in EXAMPLES] == [f"{i:02d}" for i in range(1, len(EXAMPLES) + 1)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_recipes_refer_to_what_exists(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    script = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    commands = re.findall(r"bin/chronosplat ([^\n]+)", script)
    assert commands
    check_commands(commands, capsys)
    for mentioned in re.findall(r"(?:runs|src|benchmarks)/[\w./-]+\.(?:sh|py|safetensors)", script):
        assert (ROOT / mentioned).is_file(), mentioned


def test_the_recipes_of_the_readme_are_there() -> None:
    mentioned = set(re.findall(r"runs/\w+\.sh", README))
    assert {"runs/mini.sh", "runs/validate.sh"} <= mentioned <= {f"runs/{path.name}" for path in RECIPES}
