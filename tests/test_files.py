"""Files and folders appear whole or not at all, and result folders lose nothing but what chronosplat wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from chronosplat.files import MARKER, atomic_file, check_output, mark_results, owned_files, result_folder, temporary_folder, write_tensors
from chronosplat.shapes import InputError


def names(folder: Path) -> list[str]:
    """Everything below a folder, hidden things too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def result(path: Path, **files: str) -> Path:
    """A result folder with text files."""
    with result_folder(path) as fresh:
        for name, text in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text)
    return path


def test_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.tar.txt"
    with atomic_file(path) as fresh:
        fresh.write_text("whole")
        assert fresh.parent == path.parent
        assert fresh.suffix == ".txt"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.tar.txt"]


def write_and_raise(path: Path, error: type[BaseException], begun: bool = True) -> None:
    """Fail while writing a file, before or after its first bytes."""
    with atomic_file(path) as fresh:
        if begun:
            fresh.write_text("half")
        raise error


def fill_and_raise(path: Path, error: type[BaseException]) -> None:
    """Fail while filling a folder."""
    with result_folder(path) as fresh:
        (fresh / "sub").mkdir()
        (fresh / "sub" / "half").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("begun", [False, True])
def test_file_leaves_nothing_and_keeps_the_old_one_when_the_block_raises(tmp_path: Path, error: type[BaseException], begun: bool) -> None:
    old = tmp_path / "old.txt"
    old.write_text("old")
    for path in (old, tmp_path / "new.txt"):
        with pytest.raises(error):
            write_and_raise(path, error, begun)
    assert names(tmp_path) == ["old.txt"]
    assert old.read_text() == "old"


def test_a_result_replaces_an_earlier_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out"
    for name in ("first", "second"):
        with result_folder(path) as fresh:
            (fresh / name).write_text(name)
            assert not (path / name).exists()
        assert names(path.parent) == ["out", f"out/{MARKER}", f"out/{name}"]
    assert owned_files(path) == {"second": 6}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_result_leaves_nothing_and_keeps_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    old = result(tmp_path / "old", kept="kept")
    for path in (old, tmp_path / "new"):
        with pytest.raises(error):
            fill_and_raise(path, error)
    assert names(tmp_path) == ["old", f"old/{MARKER}", "old/kept"]
    assert (old / "kept").read_text() == "kept"


def test_absent_and_empty_folders_and_results_may_be_replaced(tmp_path: Path) -> None:
    check_output(tmp_path / "absent")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    check_output(tmp_path / "empty")
    check_output(result(tmp_path / "ours", **{"scene": "s", "ply/a": "b"}))


@pytest.mark.parametrize("foreign", ["notes.txt", "report.json", "ply/mine.ply", ".hidden"])
def test_a_foreign_file_is_named_and_kept(tmp_path: Path, foreign: str) -> None:
    """A file named report.json makes no folder ours."""
    ours = result(tmp_path / "ours", **{"scene": "s", "ply/a": "b"})
    (ours / foreign).write_text("mine")
    with pytest.raises(InputError, match=rf"ours: {foreign} was not written by chronosplat; move it away, or choose another output$"):
        result(ours, other="x")
    assert (ours / foreign).read_text() == "mine"
    assert (ours / "scene").read_text() == "s"


def test_a_folder_of_others_is_refused_whole(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "report.json").write_text("{}")
    (tmp_path / "theirs" / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match=r"report\.json was not written by chronosplat"):
        result(tmp_path / "theirs", scene="s")
    assert (tmp_path / "theirs" / "thesis.tex").read_text() == "years"


def test_a_file_that_was_changed_since_is_kept(tmp_path: Path) -> None:
    ours = result(tmp_path / "ours", scene="s")
    (ours / "scene").write_text("edited by hand")
    with pytest.raises(InputError, match="scene changed since chronosplat wrote it"):
        result(ours, scene="t")
    assert (ours / "scene").read_text() == "edited by hand"


@pytest.mark.parametrize("marker", ["", "[]", '{"files": 3}', '{"files": {"a": "many"}}', "\x00"])
def test_a_damaged_marker_owns_nothing(tmp_path: Path, marker: str) -> None:
    ours = result(tmp_path / "ours", scene="s")
    (ours / MARKER).write_text(marker)
    with pytest.raises(InputError, match="scene was not written by chronosplat"):
        check_output(ours)


def test_a_link_in_a_result_is_foreign_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    ours = result(tmp_path / "ours", scene="s")
    (ours / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="link was not written by chronosplat"):
        check_output(ours)
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"a\.txt: is a file; choose a folder as output"):
        check_output(tmp_path / "a.txt")


def fill_while_a_file_appears(path: Path) -> None:
    """Make a result while somebody else puts a file into its place."""
    with result_folder(path) as fresh:
        (fresh / "scene").write_text("new")
        (path / "mine").write_text("mine")


def test_a_file_that_appears_meanwhile_is_kept_and_so_is_the_result(tmp_path: Path) -> None:
    ours = result(tmp_path / "ours", scene="s")
    with pytest.raises(InputError, match=r"mine was not written by chronosplat; the finished result is in (\S+)$") as caught:
        fill_while_a_file_appears(ours)
    assert (ours / "mine").read_text() == "mine"
    assert (Path(str(caught.value).split()[-1]) / "scene").read_text() == "new"


def test_results_within_a_result_keep_their_own_marker(tmp_path: Path) -> None:
    """An outer folder is ours as a whole, also when an inner result was replaced since."""
    outer = tmp_path / "demo"
    result(outer / "capture", a="1")
    (outer / "demo.json").write_text("{}")
    mark_results(outer)
    check_output(outer)
    result(outer / "capture", b="22")
    check_output(outer)
    assert owned_files(outer) == {"demo.json": 2, "capture/b": 2}
    (outer / "capture" / "mine").write_text("")
    with pytest.raises(InputError, match="capture/mine was not written by chronosplat"):
        check_output(outer)


@pytest.mark.parametrize(("output", "relation"), [("fox", "is"), ("fox/out", "lies inside"), (".", "contains"), ("link", "is")])
def test_an_output_that_would_touch_an_input_is_refused(tmp_path: Path, output: str, relation: str) -> None:
    capture = result(tmp_path / "fox", transforms="{}")
    (tmp_path / "link").symlink_to(capture)
    with pytest.raises(InputError, match=rf"the output {relation} the input .*fox; choose another output$"):
        check_output(tmp_path / output, [capture])
    assert (capture / "transforms").read_text() == "{}"


def test_an_output_beside_an_input_is_fine(tmp_path: Path) -> None:
    (tmp_path / "cat.mp4").write_text("")
    check_output(tmp_path / "outputs" / "cat", [tmp_path / "cat.mp4"])
    check_output(tmp_path / "out", [tmp_path / "absent"])
    with pytest.raises(InputError, match="the output contains the input"):
        check_output(tmp_path, [tmp_path / "cat.mp4"])


HOLD = """
import sys
from pathlib import Path
from chronosplat.files import atomic_file, temporary_folder
with atomic_file(Path(sys.argv[1])) as file, temporary_folder(Path(sys.argv[2])) as folder:
    print(file, folder, flush=True)
    sys.stdin.read()
"""


def test_names_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """Process ids repeat in containers: only a free lock proves that a writer is dead."""
    file, folder = tmp_path / "a.txt", tmp_path / "out"
    program = [sys.executable, "-c", HOLD, str(file), str(folder)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as alive:
        assert alive.stdout is not None
        temporary = [Path(name) for name in alive.stdout.readline().split()]
        hour_ago = time.time() - 3600
        for path in temporary:
            os.utime(path, (hour_ago, hour_ago))
        result(folder, scene="s")
        with atomic_file(file) as fresh:
            fresh.write_text("new")
        assert all(path.exists() for path in temporary)
        alive.kill()
        alive.wait()
    for path in temporary:
        os.utime(path, (hour_ago, hour_ago))
    result(folder, scene="t")
    with atomic_file(file) as fresh:
        fresh.write_text("newer")
    assert names(tmp_path) == ["a.txt", "out", f"out/{MARKER}", "out/scene"]


def test_temporary_names_cannot_be_foretold(tmp_path: Path) -> None:
    found = set()
    for _ in range(3):
        with atomic_file(tmp_path / "a.txt") as fresh, temporary_folder(tmp_path / "out") as folder:
            found |= {fresh.name, folder.name}
    assert len(found) == 6
    assert not any(str(os.getpid()) == part for name in found for part in name.split("."))


def test_a_marker_lists_files_with_sizes(tmp_path: Path) -> None:
    ours = result(tmp_path / "ours", **{"scene": "abc", "ply/a": ""})
    assert json.loads((ours / MARKER).read_text()) == {"made_by": "chronosplat", "files": {"ply/a": 0, "scene": 3}}


def test_written_tensors_are_readable_for_others_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"x": torch.randn(3, 4, requires_grad=True), "y": torch.arange(6).view(2, 3).T}
    before = os.umask(0o077)
    try:
        write_tensors(tensors, path, {"note": "kept"})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert {name: torch.equal(t, tensors[name]) for name, t in load_file(path).items()} == {"x": True, "y": True}


def test_tensors_that_share_memory_are_written(tmp_path: Path) -> None:
    x = torch.randn(4, 3)
    write_tensors({"means": x, "colors": x, "first": x[:2]}, tmp_path / "a.safetensors", {})
    loaded = load_file(tmp_path / "a.safetensors")
    assert torch.equal(loaded["means"], x)
    assert torch.equal(loaded["colors"], x)
    assert torch.equal(loaded["first"], x[:2])


def test_a_failed_write_of_tensors_is_an_os_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("no space left")

    monkeypatch.setattr("chronosplat.files.save_file", full_disk)
    with pytest.raises(OSError, match=r"cannot write .*a\.safetensors: no space left"):
        write_tensors({"x": torch.zeros(2)}, tmp_path / "a.safetensors", {})
    assert names(tmp_path) == []
