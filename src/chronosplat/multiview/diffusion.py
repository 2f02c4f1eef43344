"""Multi-view diffusion: generate four views of an object from an image (ImageDream) or a text (MVDream).

The U-Net is :mod:`chronosplat.models.imagedream`; the autoencoder and the scheduler are diffusers', the text and image
encoders transformers' (extra ``multiview``). Each part is loaded when it is needed and freed afterwards, so that the
largest part determines the memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from chronosplat.cameras import orbit_pose
from chronosplat.models.hub import fetch_folder
from chronosplat.models.imagedream import ImageDreamUNet
from chronosplat.models.imagedream.weights import from_imagedream
from chronosplat.models.weights import read_weights
from chronosplat.shapes import InputError, UnavailableError

AZIMUTHS = (90.0, 180.0, 270.0, 0.0)  # of L4GM's front, right, back, left in the U-Net's training
REPOS = {"imagedream": "ashawkey/imagedream-ipmv-diffusers", "mvdream": "ashawkey/mvdream-sd2.1-diffusers"}
LICENCE = "CreativeML Open RAIL-M: use is restricted, see its attachment A"
GUIDANCE = {"imagedream": 5.0, "mvdream": 7.5}  # of the released L4GM and LGM
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model", "image_encoder": "model"}
StepCallback = Callable[[int, int], None]  # called with the finished denoising steps and their total
LATENTS = 32  # side of the released models' latents, if the U-Net's config does not state it


@dataclass(frozen=True)
class DiffusionOptions:
    """Options of multi-view diffusion.

    Attributes:
        prompt: description of the object.
        negative: description of what to avoid.
        steps: denoising steps.
        guidance: classifier-free guidance scale; by default 5 with an image, 7.5 without.
        elevation: of the image's camera in degrees, upwards.
    """

    prompt: str = ""
    negative: str = ""
    steps: int = 30
    guidance: float | None = None
    elevation: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps: expected at least 1, got {self.steps}")
        if self.guidance is not None and not 1 <= self.guidance < float("inf"):
            raise InputError(f"guidance: expected 1 or more, got {self.guidance:g}")
        if not -90 < self.elevation < 90:
            raise InputError(f"elevation: expected degrees between -90 and 90, got {self.elevation:g}")


def fetch_diffusion(kind: str) -> Path:
    """Return the folder of the released ``imagedream`` or ``mvdream``, downloaded once.

    Raises:
        UnavailableError: neither cached nor downloadable.
    """
    parts = [*PARTS, "image_encoder", "feature_extractor"] if kind == "imagedream" else PARTS
    patterns = [f"{part}/*.{suffix}" for part in parts for suffix in ("json", "txt", "safetensors")]
    needed = [f"{part}/{WEIGHTS[part]}.safetensors" for part in parts if part in WEIGHTS]
    return fetch_folder(REPOS[kind], patterns, needed, LICENCE)


class Diffusion:
    """Multi-view diffusion from a folder in diffusers' layout."""

    def __init__(self, folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        """Raises: InputError: parts are missing. UnavailableError: the extra is not installed."""
        _require_extra()
        self.folder, self.device, self.dtype = Path(folder), torch.device(device), dtype
        missing = [part for part in PARTS if not (self.folder / part).is_dir()]
        if missing:
            raise InputError(f"{self.folder}: not a multi-view diffusion model (no {', '.join(missing)} in it)")

    @torch.no_grad()
    def generate(
        self, image: Tensor | None, options: DiffusionOptions, seed: int = 0, on_step: StepCallback = lambda _done, _total: None
    ) -> Tensor:
        """Generate [4, S, S, 3] in [0, 1]: front, right, back, left; on white if there is an image.

        Args:
            image: [H, W, 3] on white, the front; None generates from the text alone.
            seed: of the noise. on_step: called after every denoising step.

        Raises:
            InputError: an image for a text-only model, or parts that do not fit.
        """
        side = int(self._json("unet/config.json").get("image_size", LATENTS))
        text = self._text([options.negative, options.prompt])
        tokens = image_latents = None
        if image is not None:
            tokens, image_latents = self._image_tokens(image), self._encode(resize_square(image[None], side * self._downsampling()))
        unet = self._unet()
        if image is not None and unet.config.ip_dim == 0:
            raise InputError(f"{self.folder}: accepts text only; use ImageDream for images")
        count = 4 if image is None else 5
        kind = "mvdream" if image is None else "imagedream"
        guidance = GUIDANCE[kind] if options.guidance is None else options.guidance
        cameras = view_cameras(options.elevation, image is not None).to(self.device, self.dtype)
        scheduler = self._scheduler(options.steps)
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(count, unet.config.in_channels, side, side, generator=generator) * scheduler.init_noise_sigma
        latents = latents.to(self.device, self.dtype)
        contexts = text.repeat_interleave(count, 0)
        if tokens is not None:  # the first half is unconditional
            tokens = torch.cat([torch.zeros_like(tokens), tokens]).repeat_interleave(count, 0)
        if image_latents is not None:
            image_latents = torch.cat([torch.zeros_like(image_latents), image_latents])
        for done, timestep in enumerate(scheduler.timesteps, 1):
            both = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
            timesteps = timestep.to(self.device).expand(2 * count)
            uncond, cond = unet(both, timesteps, contexts, cameras.repeat(2, 1), tokens, image_latents, count).chunk(2)
            noise = uncond + guidance * (cond - uncond)
            latents = scheduler.step(noise, timestep, latents, return_dict=False)[0]
            on_step(done, len(scheduler.timesteps))
        del unet
        return self._decode(latents[:4])

    def _text(self, texts: list[str]) -> Tensor:
        """Encode texts as [B, L, C]."""
        from transformers import CLIPTextModel, CLIPTokenizer

        tokenizer: Any = self._part(CLIPTokenizer, "tokenizer")
        encoder: Any = self._network(CLIPTextModel, "text_encoder")
        length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        found = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        mask = found.attention_mask.to(self.device) if getattr(encoder.config, "use_attention_mask", False) else None
        return encoder(found.input_ids.to(self.device), attention_mask=mask)[0]

    def _image_tokens(self, image: Tensor) -> Tensor:
        """Encode an image as [1, L, C], by the image encoder's penultimate layer."""
        from transformers import CLIPVisionModel

        if not (self.folder / "image_encoder").is_dir():
            raise InputError(f"{self.folder}: accepts text only (no image_encoder in it); use ImageDream for images")
        encoder: Any = self._network(CLIPVisionModel, "image_encoder")
        options = self._json("feature_extractor/preprocessor_config.json", "image_mean", "image_std")
        pixels = clip_pixels(image, options).to(self.device, self.dtype)
        return encoder(pixels, output_hidden_states=True).hidden_states[-2]

    def _vae(self) -> Any:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return self._network(AutoencoderKL, "vae")

    def _encode(self, images: Tensor) -> Tensor:
        """Encode images [B, H, W, 3] as latents [B, 4, h, w], without sampling, so that the result is deterministic."""
        vae = self._vae()
        pixels = (2 * images - 1).movedim(-1, 1).to(self.device, self.dtype)
        return vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor

    def _decode(self, latents: Tensor) -> Tensor:
        """Decode latents [B, 4, h, w] to images [B, H, W, 3]."""
        vae = self._vae()
        images = torch.cat([vae.decode(one[None] / vae.config.scaling_factor).sample for one in latents])
        return (images.float().movedim(1, -1).cpu() / 2 + 0.5).clamp(0, 1)

    def _downsampling(self) -> int:
        """Return the pixels per latent along an edge."""
        return 2 ** (len(self._json("vae/config.json", "block_out_channels")["block_out_channels"]) - 1)

    def _scheduler(self, steps: int) -> Any:
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        scheduler: Any = DDIMScheduler.from_config(self._json("scheduler/scheduler_config.json"), steps_offset=1, clip_sample=False)
        limit = scheduler.config.num_train_timesteps - 1
        if steps > limit:
            raise InputError(f"steps: expected at most {limit}, the model's training steps; got {steps}")
        scheduler.set_timesteps(steps)
        return scheduler

    def _unet(self) -> ImageDreamUNet:
        tensors, _ = read_weights(self._weights("unet"))
        return from_imagedream(tensors, self._json("unet/config.json")).to(self.device, self.dtype)

    def _network(self, kind: Any, part: str) -> Any:
        """Load a network of diffusers or transformers, from safetensors only; all weights must be present."""
        self._weights(part)
        model, found = self._part(kind, part, use_safetensors=True, output_loading_info=True)
        if found["missing_keys"]:
            raise InputError(f"{self.folder / part}: its weights lack {sorted(found['missing_keys'])[0]}")
        return model.to(self.device, self.dtype).eval()

    def _weights(self, part: str) -> Path:
        path = self.folder / part / f"{WEIGHTS[part]}.safetensors"
        if not path.is_file():
            raise InputError(f"{path.parent}: no {path.name} in it; pickled weights (.bin) are not loaded")
        return path

    def _part(self, kind: Any, part: str, **options: bool) -> Any:
        try:
            return kind.from_pretrained(str(self.folder / part), local_files_only=True, **options)
        except Exception as error:  # diffusers and transformers raise many types for damaged files
            first = (str(error).strip() or repr(error)).splitlines()[0]
            raise InputError(f"{self.folder / part}: cannot be loaded ({first})") from error

    def _json(self, name: str, *needed: str) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / name).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder / name}: cannot be read ({error})") from error
        missing = [key for key in needed if key not in found] if isinstance(found, dict) else ["an object"]
        if missing:
            raise InputError(f"{self.folder / name}: cannot be read (no {missing[0]} in it)")
        return found


def view_cameras(elevation: float, with_image: bool) -> Tensor:
    """Return the U-Net's camera inputs [4 or 5, 16]: camera-to-world at distance 1 in a +Z-up world; zeros for the input image."""
    to_z_up = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    poses = torch.stack([(to_z_up @ orbit_pose(azimuth, elevation, 1.0)).flatten() for azimuth in AZIMUTHS]).float()
    return torch.cat([poses, torch.zeros_like(poses[:1])]) if with_image else poses


def clip_pixels(image: Tensor, options: dict[str, Any]) -> Tensor:
    """Preprocess an image [H, W, 3] in [0, 1] for CLIP: resize the shorter side, crop the centre, normalise; [1, 3, S, S].

    The released processor needs packages that the encoder itself does not.
    """
    size, crop = options.get("size", 224), options.get("crop_size", 224)
    short = size["shortest_edge"] if isinstance(size, dict) else size
    side = crop["height"] if isinstance(crop, dict) else crop
    pil = Image.fromarray((image.clamp(0, 1) * 255).byte().numpy())
    width, height = (short * n // min(pil.size) for n in pil.size)
    left, top = (width - side) // 2, (height - side) // 2
    pil = pil.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))
    pixels = torch.from_numpy(np.array(pil)).float() / 255
    mean, std = (torch.tensor(options[name]) for name in ("image_mean", "image_std"))
    return ((pixels - mean) / std).movedim(-1, 0)[None]


def resize_square(images: Tensor, size: int) -> Tensor:
    """Resize images [B, H, W, 3] to [B, size, size, 3], anti-aliased."""
    if images.shape[1:3] == (size, size):
        return images
    small = F.interpolate(images.movedim(-1, 1), (size, size), mode="bilinear", antialias=True, align_corners=False)
    return small.movedim(1, -1).clamp(0, 1)


def _require_extra() -> None:
    try:
        import diffusers
        import transformers
    except ImportError as error:
        install = "pip install 'chronosplat[multiview]', or give {views}"
        raise UnavailableError(f"multiview: {error}", install, views=...) from error
    for library in (diffusers, transformers):  # each part would show its own bar
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
