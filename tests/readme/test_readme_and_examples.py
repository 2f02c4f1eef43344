"""What the README and the examples promise runs as it stands there."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.cli import DATA_VERBS, VERBS
from chronosplat.evaluate.setups import alternating_canonical

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    split = alternating_canonical(procedural_object(1, "blob"), 32, times=6, samples=1)
    save_transforms(split.inputs, tmp_path / "outputs/demo/capture", "train")
    code = re.search(r"```python\n(.*?)```", README, re.S)
    assert code is not None
    exec(compile(code.group(1), "README.md", "exec"), {})
    assert "torch.Size" in capsys.readouterr().out
    assert (tmp_path / "scene.safetensors").is_file()
    assert (tmp_path / "fox.ply").is_file()


def test_every_command_of_the_readme_exists() -> None:
    commands = re.findall(r"chronosplat ([a-z]+)(?: ([a-z]+))?", README)
    verbs = {verb for verb, _ in commands if verb in VERBS or verb == "data"}
    assert verbs >= {"reconstruct", "data", "export", "train", "info"}
    assert ("data", "render") in commands
    assert "render" in DATA_VERBS
    for target in re.findall(r"^make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_links_of_the_readme_point_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_runs_refer_to_what_exists() -> None:
    assert shutil.which("bash")
    script = (ROOT / "runs/mini.sh").read_text()
    assert "chronosplat train" in script
    assert "runs/validate.sh" in script
    assert "chronosplat eval" in (ROOT / "runs/validate.sh").read_text()
