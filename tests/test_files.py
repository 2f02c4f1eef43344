"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from chronosplat.files import atomic_file, atomic_folder, check_folder, write_tensors
from chronosplat.shapes import InputError


def names(folder: Path) -> list[str]:
    """Everything below a folder, hidden things too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


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
    with atomic_folder(path) as fresh:
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


def test_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out"
    for name in ("first", "second"):
        with atomic_folder(path) as fresh:
            (fresh / name).write_text(name)
            assert not (path / name).exists()
        assert names(path.parent) == ["out", f"out/{name}"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_folder_leaves_nothing_and_keeps_the_old_one_when_the_block_raises(tmp_path: Path, error: type[BaseException]) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "kept").write_text("kept")
    for path in (old, tmp_path / "new"):
        with pytest.raises(error):
            fill_and_raise(path, error)
    assert names(tmp_path) == ["old", "old/kept"]


def test_check_folder_takes_new_empty_and_our_own(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    check_folder(tmp_path / "absent")
    check_folder(ours)
    (ours / "report.json").write_text("{}")
    (ours / "scene.safetensors").write_text("")
    check_folder(ours)
    assert names(tmp_path) == ["ours", "ours/report.json", "ours/scene.safetensors"]


def test_check_folder_refuses_files_and_folders_of_others(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("")
    with pytest.raises(InputError, match=r"a\.txt: is a file; give a folder for the results"):
        check_folder(file)
    with pytest.raises(InputError, match="is a folder with other files in it; give a new one"):
        check_folder(tmp_path)


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
