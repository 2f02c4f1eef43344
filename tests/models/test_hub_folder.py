"""Whole folders from the hub, without a network: what is here is used, what is missing is named, pickles are refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from chronosplat.cli.common import as_flag
from chronosplat.models import hub
from chronosplat.models.hub import HubFile, fetch, fetch_folder
from chronosplat.multiview import fetch_diffusion
from chronosplat.shapes import UnavailableError

REPO, PATTERNS, NEEDED = "somebody/model", ["unet/*.json", "unet/*.safetensors"], ["unet/weights.safetensors"]


class Hub:
    """Stands in for the hub: ``here`` is in the cache, ``there`` comes over the network; either may be an error."""

    def __init__(self, here: Path | Exception, there: Path | Exception) -> None:
        self.here, self.there = here, there
        self.asked: list[str] = []

    def snapshot_download(self, repo: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        assert repo == REPO or repo.startswith("ashawkey/")
        assert allow_patterns
        self.asked.append("cache" if local_files_only else "network")
        answer = self.here if local_files_only else self.there
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


def install(monkeypatch: pytest.MonkeyPatch, here: Path | Exception, there: Path | Exception) -> Hub:
    made = Hub(here, there)
    monkeypatch.setattr(hub, "snapshot_download", made.snapshot_download)
    return made


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")
    return folder


NOWHERE = LocalEntryNotFoundError("not in the cache")


def test_a_complete_folder_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = install(monkeypatch, folder_with(tmp_path, *NEEDED), AssertionError("asked the network for a folder that is here"))
    assert fetch_folder(REPO, PATTERNS, NEEDED, "MIT") == tmp_path
    assert made.asked == ["cache"]


def test_downloads_say_the_licence_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    said_before: list[str] = []
    folder_with(tmp_path, *NEEDED)

    def download(repo: str, **options: Any) -> str:
        if options.get("local_files_only"):
            raise NOWHERE
        assert options == {"allow_patterns": PATTERNS}
        said_before.append(caplog.text)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    with caplog.at_level(logging.WARNING, logger="chronosplat"):
        assert fetch_folder(REPO, tuple(PATTERNS), NEEDED, "Open RAIL-M") == tmp_path
    assert f"downloading {REPO} " in said_before[0]
    assert "once; licence: Open RAIL-M" in said_before[0]


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline\nmode"), OSError("no route to host"), OSError()])
def test_without_a_network_repository_and_cache_are_named(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    made = install(monkeypatch, NOWHERE, error)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", "/a/cache")
    with pytest.raises(UnavailableError) as raised:
        fetch_folder(REPO, PATTERNS, NEEDED, "MIT")
    message = str(raised.value)
    assert message.startswith(f"{REPO} (unet/weights.safetensors, ...) is not on this machine and cannot be downloaded (")
    assert (str(error) or repr(error)).splitlines()[0] in message
    assert message.endswith("the hub's cache is /a/cache; get it elsewhere and put it there, or give it as diffusion")
    assert raised.value.spelled(as_flag).endswith("or give it as --diffusion")
    assert "\n" not in message
    assert raised.value.__cause__ is error
    assert made.asked == ["cache", "network"]


def test_a_folder_without_weights_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = folder_with(tmp_path / "here", "unet/config.json"), folder_with(tmp_path / "there", *NEEDED)
    made = install(monkeypatch, here, there)
    assert fetch_folder(REPO, PATTERNS, NEEDED, "MIT") == there
    assert made.asked == ["cache", "network"]


@pytest.mark.parametrize("names", [("unet/config.json",), ("unet/config.json", "unet/weights.bin"), ("unet/other.safetensors",)])
def test_repositories_without_safetensors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    install(monkeypatch, NOWHERE, folder_with(tmp_path, *names))
    with pytest.raises(
        UnavailableError,
        match=rf"{REPO}: holds no unet/weights\.safetensors \(pickled weights are not loaded\); "
        r"give a folder that has it as diffusion",
    ):
        fetch_folder(REPO, PATTERNS, NEEDED, "MIT")


@pytest.mark.parametrize("kind", ["imagedream", "mvdream"])
def test_an_interrupted_download_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """One part's weights are there, the U-Net's and the text encoder's are not; some versions of the hub's package return such a folder."""
    here = folder_with(tmp_path / "here", "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "unet/config.json")
    weights = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    weights += [f"{part}/model.safetensors" for part in ("text_encoder", "image_encoder")]
    there = folder_with(tmp_path / "there", *weights)
    made = install(monkeypatch, here, there)
    assert fetch_diffusion(kind) == there
    assert made.asked == ["cache", "network"]


@pytest.mark.parametrize("kind", ["imagedream", "mvdream"])
def test_a_complete_model_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    weights = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    weights += [f"{part}/model.safetensors" for part in ("text_encoder", "image_encoder")[: 2 if kind == "imagedream" else 1]]
    made = install(monkeypatch, folder_with(tmp_path, *weights), AssertionError("asked the network for a folder that is here"))
    assert fetch_diffusion(kind) == tmp_path
    assert made.asked == ["cache"]


def test_refused_connections_are_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's package lets its network library's own errors through, which need not be OSErrors."""

    def nowhere(*_: object, **__: object) -> str:
        raise NOWHERE

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(hub, "hf_hub_download", nowhere)
    monkeypatch.setattr(hub, "hf_hub_url", lambda *_, **__: "http://127.0.0.1:9/nothing")  # nobody listens there
    with pytest.raises(UnavailableError, match=r"somebody/model/a\.safetensors is not on this machine"):
        fetch(HubFile(REPO, "a.safetensors"), "MIT")
