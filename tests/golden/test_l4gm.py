"""The networks of the released L4GM and LGM, compared with outputs of the public code (``data/README.md``)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chronosplat.models import from_l4gm, to_l4gm
from chronosplat.models.l4gm import L4GM, L4GMConfig, input_maps, input_rays
from chronosplat.shapes import InputError
from tests.golden.kit import odd_weights, read_golden, released_shapes

NAMES = ("lgm_tiny", "l4gm_tiny", "l4gm_two_per_pixel")
FIELDS = {"means": slice(0, 3), "opacities": 3, "scales": slice(4, 7), "quats": slice(7, 11), "colors": slice(11, 14)}
TOLERANCE = 1e-4  # of a field's largest value; 1e-5 is measured, the released code is as far from its own float64 result


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_reproduced(name: str) -> None:
    golden = read_golden(name)
    with torch.no_grad():
        found = from_l4gm(golden.weights, golden.config)(golden.tensors["input.network_input"])
    for field, channels in FIELDS.items():
        expected = golden.tensors["output.gaussians"][..., channels]
        value: Tensor = getattr(found, field)[0]
        assert value.shape == expected.shape, field
        torch.testing.assert_close(
            value, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max()), msg=lambda m, f=field: f"{f}: {m}"
        )


@pytest.mark.parametrize("name", NAMES)
def test_input_maps_are_reproduced(name: str) -> None:
    golden = read_golden(name)
    config = from_l4gm(golden.weights, golden.config).config
    elevation = -float(golden.metadata["elevation"])  # the released sign is the other way round
    rays = input_rays(4, config.input_size, config, elevation)
    assert float((rays - golden.tensors["input.rays_plucker"]).abs().max()) < 1e-6
    maps = input_maps(golden.tensors["input.images"].movedim(-3, -1), config, elevation)
    assert float((maps - golden.tensors["input.network_input"]).abs().max()) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_weights_survive_the_way_there_and_back(name: str) -> None:
    golden = read_golden(name)
    weights = odd_weights(golden)
    back = to_l4gm(from_l4gm(weights, golden.config))
    assert back.keys() == weights.keys()
    for key, tensor in weights.items():
        torch.testing.assert_close(back[key], tensor, rtol=0, atol=0)


def test_two_gaussians_of_a_pixel_lie_next_to_each_other() -> None:
    golden = read_golden("l4gm_two_per_pixel")
    size = golden.config["splat_size"]
    conv = {name: t.clone() for name, t in golden.weights.items()}
    conv["conv.weight"].zero_()
    conv["conv.bias"].zero_()
    conv["conv.bias"][3] = 5  # the opacity channel of k = 0
    with torch.no_grad():
        found = from_l4gm(conv, golden.config)(golden.tensors["input.network_input"])
    opacities = found.opacities.view(1, 2, 4, size, size, 2)  # [B, T, V, h, w, k]
    torch.testing.assert_close(opacities[..., 0], torch.full_like(opacities[..., 0], 5).sigmoid())
    torch.testing.assert_close(opacities[..., 1], torch.full_like(opacities[..., 1], 0.5))


def test_full_size_has_the_released_names_and_shapes() -> None:
    with torch.device("meta"):
        model = L4GM(L4GMConfig())
    assert {key: list(t.shape) for key, t in model.state_dict().items()} == released_shapes("l4gm_big")
    assert sum(t.numel() for t in model.parameters()) == pytest.approx(466.5e6, rel=1e-3)


def test_other_architectures_are_named() -> None:
    golden = read_golden("l4gm_tiny")
    weights, config = golden.weights, golden.config
    with pytest.raises(InputError, match=r"lacks unet\.conv_out\.bias; 1 missing, 0 unexpected"):
        from_l4gm({key: t for key, t in weights.items() if key != "unet.conv_out.bias"}, config)
    with pytest.raises(InputError, match=r"has unexpected unet\.down_blocks\.1\.t_attns\.0.* 0 missing, 40 unexpected"):
        from_l4gm(weights, config | {"use_temp_attn": False})
    with pytest.raises(InputError, match=r"conv\.bias has shape \[3\], expected \[14\]"):
        from_l4gm(weights | {"conv.bias": torch.zeros(3)}, config)
    two = read_golden("l4gm_two_per_pixel")
    with pytest.raises(InputError, match=r"conv(_out)?\.\w+ has shape \[28\], expected \[14"):
        from_l4gm(two.weights, two.config | {"gaussian_perpixel": 1})
