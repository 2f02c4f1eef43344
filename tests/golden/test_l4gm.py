"""The networks of the released L4GM and LGM, held against outputs of the public code (tiny networks, random weights).

The golden files are described where they lie; they are not part of the repository. Recipe: the released network code in
float32 on a CPU, with weights, inputs and outputs stored in the file and the network's sizes in its metadata.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from chronosplat.models.l4gm import PredictedSplats
from chronosplat.models.l4gm import L4GM, L4GMConfig, input_maps, input_rays
from chronosplat.models import from_l4gm, to_l4gm
from chronosplat.shapes import InputError

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
NAMES = ("lgm", "l4gm")
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="shared/golden absent")


def golden(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Weights under the released names, inputs and outputs, and the network's config."""
    with safe_open(GOLDEN / f"{name}_tiny.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        config = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weights."): t for key, t in tensors.items() if key.startswith("weights.")}
    return weights, {key: t for key, t in tensors.items() if not key.startswith("weights.")}, config


def packed(splats: PredictedSplats) -> Tensor:
    """[B, T, N, 14] in the released order."""
    return torch.cat([splats.means, splats.opacities[..., None], splats.scales, splats.quats, splats.colors], -1)


@needs_golden
@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_reproduced(name: str) -> None:
    weights, tensors, config = golden(name)
    with torch.no_grad():
        found = packed(from_l4gm(weights, config)(tensors["input.network_input"]))[0]
    assert found.shape == tensors["output.gaussians"].shape
    assert float((found - tensors["output.gaussians"]).abs().max()) < 1e-4


@needs_golden
@pytest.mark.parametrize("name", NAMES)
def test_input_maps_are_reproduced(name: str) -> None:
    weights, tensors, config = golden(name)
    model = from_l4gm(weights, config)
    rays = input_rays(4, model.config.input_size, model.config)
    assert float((rays - tensors["input.rays_plucker"]).abs().max()) < 1e-6
    maps = input_maps(tensors["input.images"].movedim(-3, -1), model.config)
    assert float((maps - tensors["input.network_input"]).abs().max()) < 1e-5


@needs_golden
@pytest.mark.parametrize("name", NAMES)
def test_weights_survive_the_way_there_and_back(name: str) -> None:
    weights, _, config = golden(name)
    back = to_l4gm(from_l4gm(weights, config))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[key], t) for key, t in weights.items())


@needs_golden
def test_full_size_has_the_released_names_and_shapes() -> None:
    released = json.loads((GOLDEN / "l4gm_big_state_dict.json").read_text())
    with torch.device("meta"):
        model = L4GM(L4GMConfig())
    assert {key: list(t.shape) for key, t in model.state_dict().items()} == released
    assert sum(t.numel() for t in model.parameters()) == pytest.approx(466.5e6, rel=1e-3)


@needs_golden
def test_other_architectures_are_named() -> None:
    weights, _, config = golden("l4gm")
    with pytest.raises(InputError, match=r"lacks unet\.conv_out\.bias; 1 missing, 0 unexpected"):
        from_l4gm({key: t for key, t in weights.items() if key != "unet.conv_out.bias"}, config)
    with pytest.raises(InputError, match=r"has unet\.down_blocks\.1\.t_attns\.0.*too many.*unexpected"):
        from_l4gm(weights, config | {"use_temp_attn": False})
    with pytest.raises(InputError, match=r"conv\.bias has shape \[3\], the model wants \[14\]"):
        from_l4gm(weights | {"conv.bias": torch.zeros(3)}, config)
