"""Weights from the hub, without a network: what is here is used, what is damaged is refused, what is missing is named."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from chronosplat.models import hub, load_model
from chronosplat.models.hub import HubFile, check_hash, fetch, records_file
from chronosplat.shapes import InputError, UnavailableError

FILE = HubFile("somebody/model", "weights.safetensors")


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of checked files in a folder of the test's own."""
    monkeypatch.setenv("CHRONOSPLAT_CACHE", str(tmp_path / "records"))


def cached(folder: Path, content: bytes = b"weights") -> Path:
    """A file as the hub's cache keeps it: a link to a blob named by its hash."""
    blob = folder / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content)
    link = folder / "weights.safetensors"
    link.symlink_to(blob)
    return link


def test_what_is_here_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cached(tmp_path)

    def download(repo: str, name: str, local_files_only: bool = False, revision: str | None = None) -> str:
        assert local_files_only, "asked the network for a file that is here"
        assert (repo, name) == ("somebody/model", "weights.safetensors")
        return str(path)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    assert fetch(FILE, "MIT") == path


def test_downloads_say_size_and_licence_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    said_before: list[str] = []

    def download(repo: str, name: str, local_files_only: bool = False, revision: str | None = None) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        said_before.append(caplog.text)
        return str(cached(tmp_path))

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url: SimpleNamespace(size=1_870_000_000))
    with caplog.at_level(logging.WARNING, logger="chronosplat"):
        fetch(FILE, "CC-BY-NC-SA-4.0")
    assert "somebody/model/weights.safetensors (1.87 GB, once; licence: CC-BY-NC-SA-4.0)" in said_before[0]


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline mode"), OSError("no route to host")])
def test_without_a_network_the_file_and_its_place_are_named(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    def nowhere(repo: str, name: str, local_files_only: bool = False, revision: str | None = None) -> str:
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr(hub, "hf_hub_download", nowhere)
    monkeypatch.setattr(hub, "get_hf_file_metadata", fail)
    with pytest.raises(UnavailableError, match=r"jiawei011/L4GM/recon\.safetensors is not on this machine.*cache is .* give it as weights"):
        load_model("l4gm")


def test_damaged_files_are_refused_and_good_ones_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cached(tmp_path)
    check_hash(path, "somebody/model/weights.safetensors")
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("an unchanged file was read again"))
    check_hash(path, "somebody/model/weights.safetensors")
    monkeypatch.undo()
    path.resolve().write_bytes(b"weights, but longer")
    with pytest.raises(InputError, match=r"damaged or replaced \(SHA-256 .*; delete .* and load again"):
        check_hash(path, "somebody/model/weights.safetensors")


def test_a_pinned_file_must_have_its_hash(tmp_path: Path) -> None:
    path = cached(tmp_path, b"other weights")
    with pytest.raises(InputError, match=r"expected aaaaaaaaaaaa\.\.\."):
        check_hash(path, "somebody/model/weights.safetensors", "a" * 64)
    check_hash(path, "somebody/model/weights.safetensors", hashlib.sha256(b"other weights").hexdigest())


def test_a_file_without_a_known_hash_keeps_that_of_its_first_use(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"  # no name of the hub's cache
    path.write_bytes(b"first")
    check_hash(path, "somebody/model/small")
    path.write_bytes(b"other")
    with pytest.raises(InputError, match="damaged or replaced"):
        check_hash(path, "somebody/model/small")


def test_the_hub_s_cache_may_be_read_only(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    path = cached(shared)
    before = sorted(p.name for p in shared.iterdir())
    shared.chmod(0o555)
    try:
        check_hash(path, "somebody/model/weights.safetensors")
    finally:
        shared.chmod(0o755)
    assert sorted(p.name for p in shared.iterdir()) == before
    assert records_file().is_relative_to(tmp_path)
    assert records_file().is_file()


def test_records_that_cannot_be_written_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHRONOSPLAT_CACHE", str(tmp_path / "file"))  # no folder can be made there
    check_hash(cached(tmp_path), "somebody/model/weights.safetensors")
