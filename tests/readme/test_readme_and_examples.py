"""The commands of the README and the examples run as printed."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from chronosplat.cli import VERBS, main
from tests.readme.blocks import PAGES, ROOT, commands

README = (ROOT / "README.md").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RECIPES = sorted((ROOT / "runs").glob("*.sh"))
NAMED = {f"chronosplat {verb}" for verb in VERBS}  # a verb's name alone


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Parse a command without running it; returns its verb."""
    for file in {file for file, _, _ in VERBS.values()}:
        for kind in vars(import_module(f"chronosplat.cli.{file}")).values():
            if isinstance(kind, type) and hasattr(kind, "run"):
                monkeypatch.setattr(kind, "run", lambda self: None)

    def parsed(command: str) -> str:
        _, *words = shlex.split(command, comments=True)
        try:
            code = main(words)
        except SystemExit as ended:  # of --help, or of words that are not understood
            code = ended.code
        if code != 0:
            raise SyntaxError(command)
        return next((verb for verb in VERBS if words[: verb.count(" ") + 1] == verb.split()), "")

    return parsed


def test_every_command_of_the_readme_and_the_docs_parses(parse: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    verbs, wrong = set(), []
    for page in PAGES:
        for place, command in commands(page):
            if command.split()[1] == "VERB" or command in NAMED:
                continue
            try:
                verbs.add(parse(command))
            except SyntaxError:
                wrong.append(f"{place}: {command}\n{capsys.readouterr().err}")
    assert not wrong, "\n".join(wrong)
    assert verbs >= {"reconstruct", "multiview", "render", "view", "export", "edit", "eval", "train", "data render"}


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"^make (\w+)", README, re.M)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target


def test_links_of_the_readme_point_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target


def test_figures_of_the_readme_are_those_of_the_results() -> None:
    results = (ROOT / "docs/results.md").read_text().partition("### Validation with bodies")[2]
    rows = {"one canonical view per": "alternating", "one random view per": "random", "a video and the": "video"}
    for row, setup in rows.items():
        shown = re.findall(rf"^\| {row}.*$", README, re.M)[0].replace("*", "").split("|")[3:-1]
        measured = re.findall(rf"^\| {setup} \|.*$", results, re.M)[0].split("|")
        assert [float(x) for x in shown] == [float(measured[column]) for column in (2, 4, 6)], row


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
def test_recipes_refer_to_what_exists(path: Path, parse: Callable[[str], str]) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    script = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    found = re.findall(r"bin/(chronosplat [^\n]+)", script)
    assert found
    for command in found:
        parse(re.sub(r"\$\w+", "1", command))  # a number is also a name
    for mentioned in re.findall(r"(?:runs|src|benchmarks)/[\w./-]+\.(?:sh|py|safetensors)", script):
        assert (ROOT / mentioned).is_file(), mentioned


def test_the_recipes_of_the_readme_are_there() -> None:
    mentioned = set(re.findall(r"runs/\w+\.sh", README))
    assert {"runs/mini.sh", "runs/validate.sh"} <= mentioned <= {f"runs/{path.name}" for path in RECIPES}
