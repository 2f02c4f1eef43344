"""4D-LRM: posed images at any times to space-time Gaussians (Ma et al., NeurIPS 2025, figure 2).

The forward pass follows the figure: pixel maps -> patches -> tokens -> transformer -> channels -> Gaussians.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from chronosplat.captures import Views
from chronosplat.models.lrm4d.blocks import Block, unpatchify
from chronosplat.models.lrm4d.config import Frames, LRM4DConfig, MovingHeadConfig, config_from_dict
from chronosplat.models.lrm4d.heads import PixelContext, PredictedGaussians, build_head
from chronosplat.models.lrm4d.reconstruct import reconstruct
from chronosplat.models.precision import bf16_is_fast
from chronosplat.scenes import Gaussians4D
from chronosplat.shapes import InputError

INIT_STD = 0.02


class LRM4D(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="chronosplat",
    license="apache-2.0",
    coders={LRM4DConfig: (asdict, config_from_dict)},
):
    """The large reconstruction model for space-time."""

    def __init__(self, config: LRM4DConfig | Mapping[str, Any]) -> None:
        super().__init__()
        config = config if isinstance(config, LRM4DConfig) else config_from_dict(config)  # the hub passes its config.json as a dict
        self.config = config
        self.head = build_head(config.head)
        cells = (config.patch // self.head.stride) ** 2 if self.head.stride else 0
        pixels = config.patch**2
        self.embed = nn.Linear(pixels * self.head.map_channels + cells * self.head.cell_features, config.width, bias=False)
        self.embed_norm = nn.LayerNorm(config.width, bias=False)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio, config.qk_norm) for _ in range(config.layers))
        self.out_norm = nn.LayerNorm(config.width, bias=False)
        self.pixel_outputs = pixels * self.head.channels
        self.out = nn.Linear(config.width, self.pixel_outputs + cells * self.head.cell_channels, bias=False)
        self.checkpointing = False
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
        if isinstance(config.head, MovingHeadConfig):
            nn.init.normal_(self.out.weight, std=INIT_STD / 4)  # start near the priors

    def forward(self, frames: Frames, precision: torch.dtype | None = None) -> PredictedGaussians:
        """Predict F H W Gaussians from F images.

        Args:
            precision: the transformer's dtype under autocast; None leaves autocast as it is. Rays, the sweep and the head stay
                in float32: bf16 moves a ray by half a pixel at 64 pixels.

        Raises:
            InputError: shapes that do not fit, or a size not divisible by the patch size.
        """
        frames.check(self.config.patch)
        device = frames.rgb.device.type
        with torch.autocast(device, enabled=False):
            context = self.head.context(frames)
            patches = self.head.inputs(frames, context, self.config.patch)
        with nullcontext() if precision is None else torch.autocast(device, precision, enabled=precision != torch.float32):
            channels = self._transform(patches, frames.rgb.shape[1]).float()
        with torch.autocast(device, enabled=False):
            return self._gaussians(channels, frames, context)

    def reconstruct(self, views: Views) -> Gaussians4D:
        """Reconstruct a scene; see :func:`chronosplat.models.lrm4d.reconstruct.reconstruct`."""
        device = next(self.parameters()).device
        precision = torch.bfloat16 if bf16_is_fast(device) else torch.float32
        return reconstruct(lambda frames: self(frames, precision), views, device, self.config.max_views, self.config.max_size)

    def _transform(self, patches: Tensor, frames: int) -> Tensor:
        """Map patches [B, L, C] to raw channels [B, L, ...]."""
        tokens = self.embed_norm(self.embed(patches))
        for index, block in enumerate(self.blocks):
            within = self.config.frame_layers and index % 2 == 0
            x = tokens.view(-1, tokens.shape[1] // frames, tokens.shape[2]) if within else tokens
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
            tokens = x.view(tokens.shape)
        return self.out(self.out_norm(tokens))

    def _gaussians(self, channels: Tensor, frames: Frames, context: PixelContext) -> PredictedGaussians:
        F_, H, W = frames.rgb.shape[1:4]
        patch, stride = self.config.patch, self.head.stride
        raw = unpatchify(channels[..., : self.pixel_outputs], patch, F_, H, W)
        cells = unpatchify(channels[..., self.pixel_outputs :], patch // stride, F_, H // stride, W // stride) if stride else None
        return self.head(raw, cells, context)

    @classmethod
    def _load_as_pickle(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        """Override the mixin's fallback for repositories without safetensors."""
        raise InputError(f"{model_file}: pickled weights are not loaded; publish model.safetensors instead")
