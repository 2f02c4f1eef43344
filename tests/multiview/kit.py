"""A tiny multi-view diffusion model with random weights, in diffusers' folder layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from chronosplat.models import to_imagedream
from chronosplat.models.imagedream import ImageDreamConfig, ImageDreamUNet

SIDE = 8  # of the latents
VIEW_SIZE = 2 * SIDE  # pixels of the generated views: the tiny autoencoder halves
CLIP = 16  # pixels that the image encoder sees
WIDTH = 32  # of the text's tokens
IMAGE_WIDTH = 48  # of the image encoder's tokens
WORDS = 12  # tokens of a text
UNET = {
    "image_size": SIDE,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": 1,
    "attention_resolutions": [2, 1],
    "channel_mult": [1, 2],
    "num_head_channels": 32,
    "context_dim": WIDTH,
    "camera_dim": 16,
}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "trained_betas": None,
}
FEATURES = {
    "crop_size": {"height": CLIP, "width": CLIP},
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": {"shortest_edge": CLIP},
}


def needs_extra() -> None:
    """Skip a whole file where the optional packages are not installed."""
    for name in ("diffusers", "transformers"):
        pytest.importorskip(name, reason=f"{name} is not installed (pip install 'chronosplat[multiview]')")


def diffusion_folder(folder: Path, kind: str = "imagedream", prediction: str = "epsilon", seed: int = 0) -> Path:
    """The folder of a tiny ``imagedream`` or ``mvdream`` whose U-Net predicts ``epsilon`` or ``v_prediction``."""
    torch.manual_seed(seed)
    _write_unet(folder / "unet", 4 if kind == "imagedream" else 0)
    _write_vae(folder / "vae")
    _write_text(folder)
    if kind == "imagedream":
        _write_vision(folder / "image_encoder")
        write_json(folder / "feature_extractor" / "preprocessor_config.json", FEATURES)
    write_json(folder / "scheduler" / "scheduler_config.json", {**SCHEDULER, "prediction_type": prediction})
    return folder


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def coloured_image(size: int, seed: int = 0) -> Tensor:
    """[size, size, 3]: a block of random colours on white."""
    image = torch.ones(size, size, 3)
    inner = slice(size // 4, 3 * size // 4)
    image[inner, inner] = torch.rand(size // 2, size // 2, 3, generator=torch.Generator().manual_seed(seed))
    return image


def _write_unet(folder: Path, tokens: int) -> None:
    sizes = {name: tuple(v) if isinstance(v, list) else v for name, v in UNET.items() if name != "image_size"}
    model = ImageDreamUNet(ImageDreamConfig(**sizes, ip_dim=tokens, image_width=IMAGE_WIDTH))  # pyright: ignore[reportArgumentType]
    for name, parameter in model.named_parameters():
        if ".attn2.to_" in name:
            parameter.data *= 4  # so that text and image affect the generated views
    write_json(folder / "config.json", {**UNET, "ip_dim": tokens, "_class_name": "MultiViewUNetModel"})
    save_file(to_imagedream(model), folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})


def _write_vae(folder: Path) -> None:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    kind: Any = AutoencoderKL
    vae = kind(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        scaling_factor=0.18215,
        sample_size=VIEW_SIZE,
    )
    vae.save_pretrained(folder)


def _write_text(folder: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    first, last = len(words) - 2, len(words) - 1
    encoder: Any = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=WORDS,
            bos_token_id=first,
            eos_token_id=last,
            pad_token_id=last,
        )
    )
    encoder.save_pretrained(folder / "text_encoder")
    write_json(folder / "tokenizer" / "vocab.json", {word: index for index, word in enumerate(words)})
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    write_json(folder / "tokenizer" / "tokenizer_config.json", {**special, "model_max_length": WORDS, "tokenizer_class": "CLIPTokenizer"})


def _write_vision(folder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    encoder: Any = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=IMAGE_WIDTH,
            intermediate_size=2 * IMAGE_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=CLIP,
            patch_size=8,
        )
    )
    encoder.save_pretrained(folder)
