"""L4GM, its interpolation model, and LGM, with their published weights."""

from __future__ import annotations

from chronosplat.models.hub import HubFile
from chronosplat.models.l4gm.config import L4GMConfig, UNetConfig
from chronosplat.models.l4gm.weights import load_l4gm
from chronosplat.models.spec import InputSpec, ModelSpec

NON_COMMERCIAL = "CC-BY-NC-SA-4.0: no commercial use, derived works under the same licence"
VIDEO = InputSpec("video", size=256, refine="off")
RECON, INTERP = HubFile("jiawei011/L4GM", "recon.safetensors"), HubFile("jiawei011/L4GM", "interp.safetensors")
LGM = HubFile("ashawkey/LGM", "model_fp16_fixrot.safetensors")

SPECS = (
    ModelSpec(
        "l4gm", "L4GM: video and first-frame views to Gaussians per frame (466M)", L4GMConfig(), VIDEO, load_l4gm, NON_COMMERCIAL, hub=RECON
    ),
    ModelSpec(
        "l4gm-interp",
        "L4GM's interpolation model: two frames between every two (466M)",
        L4GMConfig(frames=4),
        VIDEO,
        load_l4gm,
        NON_COMMERCIAL,
        hub=INTERP,
    ),
    ModelSpec(
        "lgm",
        "LGM: four views of one frame to Gaussians (415M)",
        L4GMConfig(UNetConfig(temporal=False), frames=1),
        VIDEO,
        load_l4gm,
        "MIT",
        hub=LGM,
    ),
)
