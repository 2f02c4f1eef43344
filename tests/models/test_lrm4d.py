"""The network: sizes of the presets, no bias, no order among frames, any number of frames, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.models import MODELS
from chronosplat.models.lrm4d import LRM4D, Frames, LRM4DConfig, MovingHeadConfig, SweepConfig
from chronosplat.models.lrm4d.config import config_from_dict
from chronosplat.models.lrm4d.heads import PredictedGaussians
from chronosplat.scenes import quats_to_matrices
from chronosplat.shapes import InputError

TINY = {
    "paper": LRM4DConfig(layers=2, width=64, heads=2),
    "moving": LRM4DConfig(layers=2, width=64, heads=2, head=MovingHeadConfig(SweepConfig(depths=8)), qk_norm=True),
}


def frames(count: int = 3, height: int = 16, width: int = 16, batch: int = 1, static: bool = False) -> Frames:
    g = torch.Generator().manual_seed(count)
    cameras = orbit([360.0 * i / count for i in range(count)], [5.0 * i for i in range(count)], 16).resized(width, height)
    times = torch.zeros(count) if static or count == 1 else torch.linspace(-1, 1, count)
    return Frames(
        rgb=torch.rand(batch, count, height, width, 3, generator=g),
        alpha=(torch.rand(batch, count, height, width, 1, generator=g) > 0.4).float(),
        times=times.expand(batch, -1),
        viewmats=cameras.viewmats.expand(batch, -1, -1, -1),
        Ks=cameras.Ks.expand(batch, -1, -1, -1),
    )


def covariances(out: PredictedGaussians) -> Tensor:
    """[B, N, 3, 3] in space."""
    half = quats_to_matrices(out.quats) * out.scales[..., None, :]
    return half @ half.transpose(-1, -2)


def parameter_count(model: LRM4D) -> int:
    return sum(p.numel() for p in model.parameters())


def tiny(head: str) -> LRM4D:
    torch.manual_seed(0)
    return LRM4D(TINY[head]).eval()


@pytest.mark.parametrize(("name", "parameters"), [("4d-lrm-base", 85e6), ("4d-lrm-large", 300e6)])
def test_paper_sizes(name: str, parameters: float) -> None:
    with torch.device("meta"):
        model = LRM4D(MODELS[name].config)
    assert parameter_count(model) == pytest.approx(parameters, rel=0.02)


def test_mini_is_small() -> None:
    with torch.device("meta"):
        assert 1e6 < parameter_count(LRM4D(MODELS["4d-lrm-mini"].config)) <= 8e6


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("4d-lrm")])
def test_no_parameter_is_a_bias(name: str) -> None:
    with torch.device("meta"):
        model = LRM4D(MODELS[name].config)
    assert not [n for n, _ in model.named_parameters() if "bias" in n]


def test_initialisation_is_the_paper_s() -> None:
    """GS-LRM: every matrix is drawn from N(0, 0.02)."""
    model = tiny("paper")
    for name, p in model.named_parameters():
        if p.ndim == 2:
            assert float(p.std()) == pytest.approx(0.02, rel=0.1), name
        else:
            assert torch.equal(p, torch.ones_like(p)), name


def test_paper_tokens_are_ten_channels_of_a_patch() -> None:
    assert tiny("paper").embed.in_features == 10 * 8 * 8
    assert tiny("paper").out.out_features == 20 * 8 * 8


@pytest.mark.parametrize("head", ["paper", "moving"])
@pytest.mark.parametrize("count", [1, 2, 5, 24])
def test_any_number_of_frames(head: str, count: int) -> None:
    out = tiny(head)(frames(count, 8, 8))
    assert out.means.shape == (1, count * 64, 3)
    for name, value in out.fields().items():
        assert bool(torch.isfinite(value).all()), name


@pytest.mark.parametrize("head", ["paper", "moving"])
@pytest.mark.parametrize(("height", "width"), [(8, 24), (24, 16)])
def test_images_need_not_be_square(head: str, height: int, width: int) -> None:
    out = tiny(head)(frames(2, height, width))
    assert out.colors.shape == (1, 2 * height * width, 3)
    assert bool(torch.isfinite(out.means).all())


@pytest.mark.parametrize("head", ["paper", "moving"])
def test_one_timestamp_is_fine(head: str) -> None:
    out = tiny(head)(frames(4, static=True))
    assert all(bool(torch.isfinite(value).all()) for value in out.fields().values())


@pytest.mark.parametrize("head", ["paper", "moving"])
def test_order_of_frames_only_orders_the_gaussians(head: str) -> None:
    model, x = tiny(head), frames(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    y = Frames(*(t[:, order] for t in (x.rgb, x.alpha, x.times, x.viewmats, x.Ks)))
    with torch.no_grad():
        a, b = model(x), model(y)
    for name, value in a.fields().items():
        blocks = value.unflatten(1, (5, 256))
        if name == "quats" and head == "paper":
            continue  # signs and order of eigenvectors are free; covariances are compared below
        assert torch.allclose(blocks[:, order].flatten(1, 2), b.fields()[name], atol=2e-5), name
        assert not torch.allclose(value, b.fields()[name], atol=1e-3), name
    ordered, found = covariances(a).unflatten(1, (5, 256))[:, order].flatten(1, 2), covariances(b)
    assert torch.allclose(ordered, found, atol=1e-6)
    assert float(found.abs().max()) > 1e-3


@pytest.mark.parametrize("head", ["paper", "moving"])
def test_frames_see_each_other(head: str) -> None:
    model, x = tiny(head), frames(3)
    brighter = x.rgb.clone()
    brighter[:, 2] = 1 - brighter[:, 2]
    with torch.no_grad():
        before, after = model(x).opacities, model(replace(x, rgb=brighter)).opacities
    assert not torch.allclose(before[:, :256], after[:, :256], atol=1e-6)


@pytest.mark.parametrize("head", ["paper", "moving"])
def test_samples_of_a_batch_do_not_mix(head: str) -> None:
    model, two = tiny(head), frames(3, batch=2)
    one = Frames(*(t[1:] for t in (two.rgb, two.alpha, two.times, two.viewmats, two.Ks)))
    with torch.no_grad():
        assert torch.allclose(model(two).means[1:], model(one).means, atol=1e-5)


@pytest.mark.parametrize("head", ["paper", "moving"])
def test_checkpointing_does_not_change_gradients(head: str) -> None:
    found = []
    for checkpointing in (False, True):
        model = tiny(head).train()
        model.checkpointing = checkpointing
        out = model(frames(2, 8, 8))
        (out.means.sum() + out.opacities.sum()).backward()
        assert model.embed.weight.grad is not None
        found.append(model.embed.weight.grad)
    assert float(found[0].abs().max()) > 0
    assert torch.allclose(found[0], found[1], atol=1e-7)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (16, 20), (7, 7)])
def test_sizes_that_are_not_whole_patches_are_refused(height: int, width: int) -> None:
    message = f"rgb: expected height and width divisible by 8, got {height}x{width}; resize the views"
    with pytest.raises(InputError, match=message):
        tiny("paper")(frames(2, height, width))


def test_frames_that_do_not_fit_are_refused() -> None:
    x = frames(3)
    with pytest.raises(InputError, match=r"alpha: expected shape"):
        tiny("paper")(replace(x, alpha=x.alpha[..., 0]))
    with pytest.raises(InputError, match=r"times: expected shape \[B=1, F=3\], got \[1, 2\]"):
        tiny("paper")(replace(x, times=x.times[:, :2]))
    with pytest.raises(InputError, match="at least one frame"):
        tiny("paper")(Frames(*(t[:, :0] for t in (x.rgb, x.alpha, x.times, x.viewmats, x.Ks))))


@pytest.mark.parametrize("head", ["paper", "moving"])
def test_config_survives_its_json_form(head: str) -> None:
    import json
    from dataclasses import asdict

    assert config_from_dict(json.loads(json.dumps(asdict(TINY[head])))) == TINY[head]
