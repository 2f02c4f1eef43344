"""Settings of a reconstruction and of multi-view generation, from which the command line is made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from chronosplat.captures import VideoOptions
from chronosplat.models import ModelSpec
from chronosplat.multiview import DiffusionOptions
from chronosplat.refine import RefineConfig, refinement
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class SequenceOptions:
    """Options of models that take a video (L4GM).

    Attributes:
        views: l4gm: images of the first frame (front right back left, or without the front), or their folder; by default
            they are generated.
        chunk: l4gm: frames of one forward pass; by default 16, or as many as fit into memory.
        interpolate: l4gm: 3 gives three times the frame rate.
        precision: l4gm: auto, fp32, bf16 or fp16.
        compile: l4gm: run the network through torch.compile (slow to start; needs a compiler).
        interp_weights: l4gm: a safetensors file instead of the released interpolation model's weights.
        lgm_weights: l4gm: a safetensors file instead of LGM's released weights.
        diffusion: l4gm: a folder with a model in diffusers' layout, instead of the released ImageDream.
        generation: how the first frame's other views are generated, where none are given.
    """

    views: tuple[str, ...] = ()
    chunk: int | None = None
    interpolate: int = 1
    precision: str = "auto"
    compile: bool = False
    interp_weights: str = ""
    lgm_weights: str = ""
    diffusion: str = ""
    generation: DiffusionOptions = field(default_factory=DiffusionOptions)


@dataclass(frozen=True)
class ReconstructConfig:
    """A reconstruction; kept beside its result as ``config.yaml``.

    Attributes:
        input: folder, transforms .json, or video file.
        model: a model's name; see chronosplat info.
        weights: a safetensors file instead of the model's weights.
        split: which frames of a capture with splits.
        quality: draft, standard or high: one word for size (128, 512 or 1024 pixels) and refine (fast, fast or best), each of
            which may be given instead.
        size: resize the longer side to so many pixels; by default larger images are reduced to those of the quality (not
            for l4gm).
        device: auto, cpu or cuda; auto takes CUDA where it is available.
        seed: of everything random.
        refine: optimise the scene against its input views: off, fast (seconds for small images), best (about twice as long), or
            a number of seconds. By default that of the quality, off for l4gm. Ctrl-C keeps the best so far.
        strategy: refinement strategy: auto, solid, deform, free, gentle or frames. For l4gm deform (one body of the sequence),
            frames, or auto, which takes a body where it matches the video at least as well as the sequence does.
        refine_cameras: also correct the cameras' poses, and write them to cameras.json.
        refine_exposure: also correct each view's gain and offset.
        depth_model: a monocular depth model for the profile of a body from a single camera, by its name on the Hugging Face
            hub or its folder, such as depth-anything/Depth-Anything-V2-Small-hf.
        ply: also write a PLY sequence.
        ply_frames: files of the PLY sequence of a scene that is continuous in time; l4gm writes one per frame.
        preview_frames: frames of preview.mp4.
        preview_size: pixels of preview.mp4.
        title: of viewer.html; by default the name of the input.
    """

    input: str
    model: str = "4d-lrm-mini"
    weights: str = ""
    split: str = "train"
    quality: str = "standard"
    size: int | None = None
    device: str = "cpu"
    seed: int = 0
    refine: str = ""
    strategy: str = "auto"
    refine_cameras: bool = False
    refine_exposure: bool = False
    depth_model: str = ""
    ply: bool = False
    ply_frames: int = 24
    preview_frames: int = 72
    preview_size: int = 256
    title: str = ""
    video: VideoOptions = field(default_factory=VideoOptions)
    sequence: SequenceOptions = field(default_factory=SequenceOptions)


def page_title(config: ReconstructConfig) -> str:
    """The title, or the name of the input: a folder's, that of a transforms .json, or a file's without its suffix."""
    path = Path(config.input).resolve()
    path = path.parent if path.suffix == ".json" else path
    return config.title or (path.name if path.is_dir() else path.stem)


@dataclass(frozen=True)
class MultiviewConfig:
    """Generation of views around an object.

    Attributes:
        input: an image of the object, taken at its own height (else see elevation); empty for a text alone.
        matting: background removal: auto, alpha, uniform, rembg, rembg:MODEL or none.
        diffusion: a folder with a model in diffusers' layout, instead of the released one.
        lgm_weights: a safetensors file instead of LGM's weights.
        device: auto, cpu or cuda; auto takes CUDA where it is available.
        seed: of the diffusion's noise.
        generation: see DiffusionOptions.
    """

    input: str = ""
    matting: str = "auto"
    diffusion: str = ""
    lgm_weights: str = ""
    device: str = "cpu"
    seed: int = 0
    generation: DiffusionOptions = field(default_factory=DiffusionOptions)


@dataclass(frozen=True)
class Quality:
    """What one word of quality means: the longer side of images in pixels, and the refinement."""

    size: int
    refine: str


QUALITIES = {"draft": Quality(128, "fast"), "standard": Quality(512, "fast"), "high": Quality(1024, "best")}


def quality_of(config: ReconstructConfig) -> Quality:
    """Look up the quality.

    Raises:
        InputError: an unknown word.
    """
    if config.quality not in QUALITIES:
        raise InputError(f"quality: expected {', '.join(QUALITIES)}; got {config.quality!r}")
    return QUALITIES[config.quality]


def refine_config(config: ReconstructConfig, spec: ModelSpec) -> RefineConfig | None:
    """The refinement that a reconstruction requests, or the model's default.

    Raises:
        InputError: neither off, fast, best nor a number of seconds above 0; corrections without refinement.
    """
    found = refinement(config.refine or (quality_of(config).refine if spec.inputs.refine != "off" else "off"))
    if found is None:
        if config.refine_cameras or config.refine_exposure:
            problem = "refine_cameras and refine_exposure need a refinement"
            raise InputError(problem, "give {refine}, best or seconds", refine="fast")
        return None
    found = replace(found, solid=replace(found.solid, depth_model=config.depth_model))
    return replace(found, seed=config.seed, strategy=config.strategy, cameras=config.refine_cameras, exposure=config.refine_exposure)


def changed_options(options: object, defaults: object, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Names of the fields that differ from the defaults, those of nested configs among them."""
    found = []
    for name, value in vars(options).items():
        if hasattr(value, "__dataclass_fields__"):
            found += changed_options(value, getattr(defaults, name), leave_out)
        elif value != getattr(defaults, name) and name not in leave_out:
            found.append(name)
    return found
