"""The table of models: a name, its config, where its weights are, and under which licence."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from chronosplat.models.hub import HubFile
from chronosplat.models.l4gm import L4GMConfig
from chronosplat.models.lrm4d import LRM4DConfig
from chronosplat.models.unet import UNetConfig
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Preset:
    """One model. ``weights`` is a file shipped inside the package, ``hub`` one that others published; neither, where none were."""

    config: LRM4DConfig | L4GMConfig
    weights: str
    licence: str
    about: str
    hub: HubFile | None = None


NON_COMMERCIAL = "CC-BY-NC-SA-4.0: no commercial use, the same licence for what is made from it"
PRESETS = {
    "4d-lrm-mini": Preset(
        LRM4DConfig(layers=8, width=256, heads=4, head="moving", qk_norm=True, frame_layers=True),
        "4d-lrm-mini.safetensors",
        "Apache-2.0",
        "small model with priors and a plane sweep; weights ship with the package",
    ),
    "4d-lrm-base": Preset(
        LRM4DConfig(layers=12, width=768, heads=12), "", "", "the paper's Base (85M); no weights were published, train it or pass weights="
    ),
    "4d-lrm-large": Preset(
        LRM4DConfig(layers=24, width=1024, heads=16),
        "",
        "",
        "the paper's Large (300M); no weights were published, train it or pass weights=",
    ),
    "l4gm": Preset(
        L4GMConfig(),
        "",
        NON_COMMERCIAL,
        "L4GM: video and first-frame views to Gaussians per frame (466M)",
        HubFile("jiawei011/L4GM", "recon.safetensors"),
    ),
    "l4gm-interp": Preset(
        L4GMConfig(frames=4),
        "",
        NON_COMMERCIAL,
        "L4GM's interpolation model: two frames between every two (466M)",
        HubFile("jiawei011/L4GM", "interp.safetensors"),
    ),
    "lgm": Preset(
        L4GMConfig(UNetConfig(temporal=False), frames=1),
        "",
        "MIT",
        "LGM: four views of one moment to Gaussians (415M)",
        HubFile("ashawkey/LGM", "model_fp16_fixrot.safetensors"),
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        InputError: an unknown name, with the closest ones.
    """
    if name in PRESETS:
        return PRESETS[name]
    close = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(PRESETS)}"
    raise InputError(f"unknown model {name!r}; {hint}")
