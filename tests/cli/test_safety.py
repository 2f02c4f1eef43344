"""What a user must not lose: files, and the meaning of Ctrl-C and of options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import chronosplat as cs
from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.scenes import save_scene
from tests.scene_kit import moving_scene


def listed(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their contents."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Twelve views of a moving object, 24x24, made by ``save_transforms``."""
    folder = tmp_path / "capture"
    save_transforms(alternating_canonical(procedural_object(3, "blob"), 24, times=12, samples=1).inputs, folder, "train")
    return folder


@pytest.mark.parametrize("where", ["mine.txt", "capture/mine.txt", "reconstruction/mine.txt"])
def test_the_demo_deletes_no_folder_of_others(tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "demo" / where
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert f"{where} was not written by chronosplat; move it away, or choose another --output" in error_line(capsys)
    assert listed(tmp_path) == {f"demo/{where}": b"years of work"}


def test_a_rendered_capture_is_not_replaced_by_its_reconstruction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default output of ``reconstruct outputs/fox`` is its input."""
    monkeypatch.chdir(tmp_path)
    arguments = ["data", "render", "procedural:blob", "-o", "outputs/fox", "--size", "16", "--frames", "2", "--random", "0"]
    assert main([*arguments, "--samples", "1"]) == 0
    before = listed(tmp_path)
    capsys.readouterr()
    assert main(["reconstruct", "outputs/fox"]) == 2
    assert "the output is the input" in error_line(capsys)
    assert listed(tmp_path) == before


@pytest.mark.parametrize("output", ["capture", "capture/train", "capture/new", "."])
def test_no_output_touches_its_input(capture: Path, tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = listed(tmp_path)
    assert main(["reconstruct", str(capture), "-o", str(tmp_path / output)]) == 2
    assert "the output " in error_line(capsys)
    assert listed(tmp_path) == before


def interrupted(arguments: list[str], when: Callable[[str], bool], folder: Path) -> tuple[int, str]:
    """Run a verb, send it Ctrl-C once when its standard error says so, and return its exit code and last line."""
    program = [sys.executable, "-c", "import sys; from chronosplat.cli import main; sys.exit(main())", *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as running:
        assert running.stderr is not None
        lines: list[str] = []
        for line in running.stderr:
            lines.append(line)
            if when(line):
                running.send_signal(signal.SIGINT)
                when = lambda _: False
        return running.wait(timeout=60), lines[-1]


def test_ctrl_c_in_refinement_keeps_the_best_and_exits_with_130(capture: Path, tmp_path: Path) -> None:
    arguments = ["reconstruct", str(capture), "-o", "out", "--refine", "600"]
    code, line = interrupted(arguments, lambda line: "refinement strategy" in line, tmp_path)
    assert (code, line) == (130, "chronosplat: interrupted; the result so far was saved\n")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["facts"]["refinement"]["stopped"] == "interrupted"
    assert isinstance(cs.load_scene(tmp_path / "out" / "scene.safetensors"), cs.DeformableGaussians | cs.Gaussians4D)


def test_ctrl_c_in_an_evaluation_writes_no_row_and_exits_with_130(tmp_path: Path) -> None:
    arguments = ["eval", "procedural:blob", "-o", "out", "--size", "24", "--times", "8", "--lpips", "off", "--setup", "alternating"]
    code, line = interrupted([*arguments, "--methods", "feed-forward", "600"], lambda line: "feed-forward:" in line, tmp_path)
    assert (code, line) == (130, "chronosplat: interrupted\n")
    rows = [json.loads(row) for row in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["feed-forward"]


def test_ctrl_c_in_training_saves_after_the_step_and_the_same_command_resumes(tmp_path: Path) -> None:
    arguments = [
        "train",
        "-o",
        "run",
        "--steps",
        "1000000",
        "--clips-start",
        "1",
        "--clips-per-step",
        "0",
        "--workers",
        "0",
        "--log-every",
        "1",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; from chronosplat.cli import main; sys.exit(main())", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as running:  # fmt: skip
        until = time.monotonic() + 60
        while not (tmp_path / "run" / "log.jsonl").is_file() and time.monotonic() < until:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        said = running.stderr.read()
        assert running.wait(timeout=60) == 130
    assert said.splitlines()[-1] == "chronosplat: interrupted; the result so far was saved"
    steps = len((tmp_path / "run" / "log.jsonl").read_text().splitlines())
    resumed = [*arguments, "--stop-at", str(steps + 1)]
    assert (
        subprocess.run(
            [sys.executable, "-c", "import sys; from chronosplat.cli import main; sys.exit(main())", *resumed], cwd=tmp_path, check=False
        ).returncode
        == 0
    )
    assert [json.loads(row)["step"] for row in (tmp_path / "run" / "log.jsonl").read_text().splitlines()] == list(range(1, steps + 2))


def test_the_device_of_an_export_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_scene(moving_scene(), tmp_path / "a.safetensors")
    arguments = [
        "export",
        str(tmp_path / "a.safetensors"),
        "-o",
        str(tmp_path / "a.mp4"),
        "--render.frames",
        "2",
        "--render.size",
        "16",
        "--device",
    ]
    assert main([*arguments, "tpu"]) == 2
    assert "device: expected auto, cpu or cuda; got 'tpu'" in error_line(capsys)
    if not torch.cuda.is_available():
        assert main([*arguments, "cuda"]) == 2
        assert "this PyTorch sees no CUDA device; use --device cpu" in error_line(capsys)
    assert main([*arguments, "cpu"]) == 0


@pytest.mark.parametrize(
    ("program", "policy"),
    [
        ("from chronosplat.cli import main; main(['--version'])", "PASSIVE 1000"),
        ("import chronosplat", "PASSIVE 1000"),
        ("import torch, chronosplat", "None None"),  # too late to change: OpenMP has read it
    ],
)
def test_waiting_threads_soon_sleep_unless_the_user_says_otherwise(program: str, policy: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    for own, expected in (({}, policy), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None")):
        code = f"{program}; import os; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"
        done = subprocess.run([sys.executable, "-c", code], env=environment | own, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == expected
