"""What a reconstruction from video works with: checked options, the weights, the source and the refinement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from chronosplat.models import ModelSpec, find_model, find_weights
from chronosplat.models.l4gm import L4GMConfig, check_l4gm_file
from chronosplat.models.precision import bf16_is_fast
from chronosplat.pipeline.config import ReconstructConfig, refine_config
from chronosplat.pipeline.report import Journal
from chronosplat.pipeline.source import Source, open_source
from chronosplat.refine import RefineConfig
from chronosplat.shapes import InputError

SCENE, PREDICTED, REFINED = "scene.safetensors", "predicted.safetensors", "refined.json"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
INTERPOLATION_MODEL = "l4gm-interp"
STRATEGIES = ("auto", "deform", "frames")


@dataclass(frozen=True)
class Setup:
    """What the stages work with.

    Attributes:
        weights, interpolator: weights files; ``interpolator`` is the interpolation model's. network: the config of ``weights``.
        refinement: None for none.
    """

    config: ReconstructConfig
    spec: ModelSpec
    source: Source
    weights: Path
    interpolator: Path | None
    network: L4GMConfig
    dtype: torch.dtype
    refinement: RefineConfig | None

    @property
    def notes(self) -> dict[str, str]:
        """Metadata of the scene file."""
        return {"model": self.config.model, "input_size": str(self.network.input_size)}


def prepared(config: ReconstructConfig, spec: ModelSpec, journal: Journal) -> Setup:
    """Check the options, find the weights and survey the input.

    Raises:
        InputError: options that do not go together, or weights that do not fit.
        UnavailableError: weights that are neither here nor downloadable.
    """
    options, dtype = config.sequence, precision_of(config)
    if options.interpolate not in (1, 3):
        raise InputError(f"interpolate: expected 1 (off) or 3 (three times the frame rate), got {options.interpolate}")
    if options.interp_weights and options.interpolate == 1:
        raise InputError("interp_weights: nothing is interpolated", "add {interpolate}", interpolate=3)
    unused = [name for name in ("diffusion", "lgm_weights") if getattr(options, name)]
    unused += ["prompt"] if options.generation.prompt else []
    if options.views and unused:
        listed = " and ".join(f"{{{name}}}" for name in unused)
        raise InputError("views: given, so none are generated", f"leave out {listed}", **dict.fromkeys(unused, ...))
    refinement = refine_config(config, spec)
    if refinement is not None:
        check_refinement(refinement, options.interpolate)
    weights = find_weights(config.model, config.weights or None)
    assert weights is not None
    interpolator = find_weights(INTERPOLATION_MODEL, options.interp_weights or None) if options.interpolate > 1 else None
    network = check_l4gm_file(spec.config, weights)
    if interpolator is not None:
        inner = check_l4gm_file(find_model(INTERPOLATION_MODEL).config, interpolator)
        if (inner.input_size, inner.num_gaussians, inner.views) != (network.input_size, network.num_gaussians, network.views):
            raise InputError(f"{interpolator}: its inputs or its number of Gaussians differ from those of {weights}")
    with journal.stage("survey"):
        source = open_source(config, network.input_size)
    return Setup(config, spec, source, weights, interpolator, network, dtype, refinement)


def check_refinement(config: RefineConfig, interpolate: int) -> None:
    """Refuse refinements that a sequence cannot have.

    Raises:
        InputError: another strategy, corrections, or frames without images that are to be refined one by one.
    """
    if config.strategy not in STRATEGIES:
        expected = ", ".join(STRATEGIES)
        raise InputError(f"strategy {config.strategy}: a video's sequence takes {expected}", "use {strategy}", strategy="auto")
    if config.cameras:
        problem = "refine_cameras: the camera of a video's sequence is the model's own"
        raise InputError(problem, "leave out {refine_cameras}", refine_cameras=...)
    if config.exposure:
        problem = "refine_exposure: the images of a video's sequence are not corrected"
        raise InputError(problem, "leave out {refine_exposure}", refine_exposure=...)
    if config.strategy == "frames" and interpolate > 1:
        problem = "strategy frames: interpolated frames have no images to refine against"
        raise InputError(problem, "use {strategy}, or leave out {interpolate}", strategy="deform", interpolate=...)


def precision_of(config: ReconstructConfig) -> torch.dtype:
    """The network's type: bf16 where that is fast, fp16 on older GPUs, else fp32.

    Raises:
        InputError: an unknown name.
    """
    name = config.sequence.precision
    if name == "auto":
        if bf16_is_fast(config.device):
            return torch.bfloat16
        return torch.float16 if config.device.startswith("cuda") else torch.float32
    if name not in PRECISIONS:
        raise InputError(f"precision: expected auto, {', '.join(PRECISIONS)}; got {name!r}")
    return PRECISIONS[name]
