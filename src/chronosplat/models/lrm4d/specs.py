"""The 4D-LRMs: the small model that ships with the package, and the paper's sizes."""

from __future__ import annotations

from pathlib import Path

from chronosplat.models.lrm4d.config import LRM4DConfig, MovingHeadConfig
from chronosplat.models.lrm4d.weights import load_lrm4d
from chronosplat.models.spec import InputSpec, ModelSpec

SHIPPED = Path(__file__).parent / "shipped"
INPUTS, PAPER_INPUTS = InputSpec("views", 128), InputSpec("views", 256)
UNPUBLISHED = "no weights were published, train it or pass weights="

SPECS = (
    ModelSpec(
        "4d-lrm-mini",
        "small model with priors and a plane sweep; weights ship with the package",
        LRM4DConfig(layers=8, width=256, heads=4, head=MovingHeadConfig(), qk_norm=True, frame_layers=True, max_size=128),
        INPUTS,
        load_lrm4d,
        "Apache-2.0",
        SHIPPED / "4d-lrm-mini.safetensors",
    ),
    ModelSpec(
        "4d-lrm-base", f"the paper's Base (85M); {UNPUBLISHED}", LRM4DConfig(layers=12, width=768, heads=12), PAPER_INPUTS, load_lrm4d
    ),
    ModelSpec(
        "4d-lrm-large", f"the paper's Large (300M); {UNPUBLISHED}", LRM4DConfig(layers=24, width=1024, heads=16), PAPER_INPUTS, load_lrm4d
    ),
)
