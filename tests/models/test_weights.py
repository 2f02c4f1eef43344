"""Weights in and out: round trips, and refusals that name what is wrong."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file

from chronosplat.models import MODELS, find_model, load_model, to_l4gm
from chronosplat.models.l4gm import L4GMConfig, UNetConfig
from chronosplat.models.lrm4d import LRM4D, LRM4DConfig, MovingHeadConfig, SweepConfig, model_from_file
from chronosplat.models.weights import read_weights, save_weights
from chronosplat.shapes import InputError
from tests.models.test_lrm4d import frames

TINY = LRM4DConfig(layers=1, width=32, heads=2, head=MovingHeadConfig(SweepConfig(depths=6, windows=(0.2,))), qk_norm=True)


def saved(path: Path, config: LRM4DConfig = TINY) -> LRM4D:
    torch.manual_seed(0)
    model = LRM4D(config)
    save_weights(asdict(config), "4d-lrm-mini", model.state_dict(), path, {"step": "7"})
    return model


def test_round_trip_is_half_precision_exact(tmp_path: Path) -> None:
    model = saved(tmp_path / "w.safetensors")
    again = model_from_file(tmp_path / "w.safetensors")
    assert again.config == TINY
    assert not again.training
    for (name, p), (other, q) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert q.dtype == torch.float32
        assert torch.equal(p.half().float(), q), name


def test_metadata_carries_the_notes(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors")
    _, metadata = read_weights(tmp_path / "w.safetensors")
    assert metadata["step"] == "7"
    assert metadata["preset"] == "4d-lrm-mini"


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_weights_of_another_architecture_name_the_key(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"another architecture \(lacks blocks\.1\.attention\..*missing, 0 unexpected"):
        load_model("4d-lrm-mini", weights=tmp_path / "w.safetensors")


def test_weights_with_a_key_too_many_name_it(tmp_path: Path) -> None:
    model = LRM4D(TINY)
    save_weights(asdict(TINY), "x", {**model.state_dict(), "extra.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"has unexpected extra\.weight; 0 missing, 1 unexpected"):
        model_from_file(tmp_path / "w.safetensors")


def test_weights_of_another_shape_name_both(tmp_path: Path) -> None:
    tensors = {**LRM4D(TINY).state_dict(), "out_norm.weight": torch.zeros(5)}
    save_weights(asdict(TINY), "x", tensors, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"out_norm\.weight has shape \[5\], expected \[32\]"):
        model_from_file(tmp_path / "w.safetensors")


def test_pickles_are_refused(tmp_path: Path) -> None:
    torch.save(LRM4D(TINY).state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match="pickled checkpoints are not loaded"):
        load_model("4d-lrm-mini", weights=tmp_path / "w.pt")


def test_cut_files_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated"):
        model_from_file(tmp_path / "cut.safetensors")


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such weights file"):
        load_model("4d-lrm-mini", weights=tmp_path / "none.safetensors")


def test_files_without_config_are_refused(tmp_path: Path) -> None:
    save_file(LRM4D(TINY).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="carries no model config"):
        model_from_file(tmp_path / "w.safetensors")


@pytest.mark.parametrize(("name", "hint"), [("4d-lrm-mni", "did you mean 4d-lrm-mini"), ("4dlrm-large", "4d-lrm-large")])
def test_unknown_names_suggest_the_closest(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        load_model(name)


def test_hopeless_names_list_all() -> None:
    with pytest.raises(InputError, match="known: 4d-lrm-mini, 4d-lrm-base, 4d-lrm-large, l4gm, l4gm-interp, lgm"):
        find_model("zzz")


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if not spec.weights and spec.hub is None])
def test_presets_without_weights_say_so(name: str) -> None:
    with pytest.raises(InputError, match="no weights were published"):
        load_model(name)


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if spec.weights])
def test_shipped_weights_fit_their_preset(name: str) -> None:
    model = load_model(name)
    assert model.config == MODELS[name].config
    assert not model.training
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_fresh_weights_on_request() -> None:
    torch.manual_seed(1)
    fresh, shipped = load_model("4d-lrm-mini", pretrained=False), load_model("4d-lrm-mini")
    assert not torch.allclose(fresh.embed.weight, shipped.embed.weight)


@pytest.mark.parametrize("config", [TINY, LRM4DConfig(layers=1, width=32, heads=2)], ids=["moving", "paper"])
def test_hub_folder_round_trip(tmp_path: Path, config: LRM4DConfig) -> None:
    torch.manual_seed(0)
    model = LRM4D(config).eval()
    model.save_pretrained(tmp_path / "model")
    again = LRM4D.from_pretrained(tmp_path / "model")
    assert again.config == config
    x = frames(2, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(x).means, again(x).means)


def test_a_hub_repository_of_pickled_weights_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mixin falls back to pytorch_model.bin where a repository has no safetensors."""
    LRM4D(TINY).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")

    def download(repo_id: str, filename: str, **_: object) -> str:
        if not (tmp_path / filename).is_file():
            raise EntryNotFoundError(filename)
        return str(tmp_path / filename)

    def unpickle(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was read")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    monkeypatch.setattr(torch, "load", unpickle)
    with pytest.raises(InputError, match=r"pytorch_model\.bin: pickled weights are not loaded; publish model\.safetensors instead"):
        LRM4D.from_pretrained("someone/model")


TINY_L4GM = L4GMConfig(UNetConfig(down_channels=(32, 32), down_attention=(False, True), up_channels=(32,), up_attention=(True,)), 16, 16)


@pytest.fixture
def tiny_l4gm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The presets of L4GM, with tiny networks."""
    for name in ("l4gm", "lgm"):
        small = replace(TINY_L4GM, unet=replace(TINY_L4GM.unet, temporal=name == "l4gm"))
        monkeypatch.setitem(MODELS, name, replace(MODELS[name], config=small))


@pytest.mark.usefixtures("tiny_l4gm")
def test_lgm_weights_start_an_l4gm_and_what_is_new_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lgm = load_model("lgm", pretrained=False)
    save_file({name: t.half() for name, t in to_l4gm(lgm).items()}, tmp_path / "lgm.safetensors")
    with caplog.at_level(logging.WARNING, logger="chronosplat"):
        model = load_model("l4gm", weights=tmp_path / "lgm.safetensors")
    for name, t in lgm.state_dict().items():
        assert torch.equal(model.state_dict()[name], t.half().float()), name
    new = sorted(model.state_dict().keys() - lgm.state_dict().keys())
    assert new
    assert all(".t_attns." in name for name in new)
    assert f"{len(new)} parameters are new and start at random: {', '.join(new)}" in caplog.text


@pytest.mark.usefixtures("tiny_l4gm")
def test_an_l4gm_with_holes_is_refused(tmp_path: Path) -> None:
    tensors = to_l4gm(load_model("l4gm", pretrained=False))
    gone = "unet.mid_block.t_attns.0.norm.bias"
    save_file({name: t for name, t in tensors.items() if name != gone}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=rf"lacks {gone}; 1 missing"):
        load_model("l4gm", weights=tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"has unexpected unet\.down_blocks\.1\.t_attns"):
        load_model("lgm", weights=tmp_path / "w.safetensors")


def test_pickles_come_with_the_command_that_converts_them(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"python -c .*weights_only=True.* w\.pt w\.safetensors"):
        read_weights(tmp_path / "w.pt")
