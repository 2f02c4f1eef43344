"""4D-LRM: posed images at any times in, one cloud of space-time Gaussians out (Ma et al., NeurIPS 2025, figure 2).

The forward pass reads as the figure: pixel maps -> patches -> tokens -> transformer -> channels -> Gaussians.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from chronosplat.cameras import nearest_points, pixel_rays
from chronosplat.captures import Views
from chronosplat.gaussians import Gaussians4D
from chronosplat.models.blocks import Block, patchify, unpatchify
from chronosplat.models.heads import MovingHead, PaperHead, PixelContext, PredictedGaussians
from chronosplat.models.sweep import SweepConfig, plane_sweep
from chronosplat.shapes import InputError, check_shape

INIT_STD = 0.02


@dataclass(frozen=True)
class LRM4DConfig:
    """The size and the variant of a 4D-LRM.

    ``frame_layers``: every other layer, the first one included, attends within each frame only, which is far cheaper.
    ``head``: ``paper`` (20 channels, 10-channel maps) or ``moving`` (priors, plane sweep, alpha as eleventh channel).
    """

    layers: int = 12
    width: int = 768
    heads: int = 12
    mlp_ratio: int = 4
    patch: int = 8
    head: str = "paper"
    qk_norm: bool = False
    frame_layers: bool = False
    sweep: SweepConfig = field(default_factory=SweepConfig)


@dataclass(frozen=True)
class Frames:
    """B samples of F posed pictures: what goes into the network.

    Attributes:
        rgb: [B, F, H, W, 3] in [0, 1] on white. alpha: [B, F, H, W, 1].
        times: [B, F] in [-1, 1]. viewmats: [B, F, 4, 4] and Ks: [B, F, 3, 3] in the normalised world.
    """

    rgb: Tensor
    alpha: Tensor
    times: Tensor
    viewmats: Tensor
    Ks: Tensor

    def check(self, patch: int) -> None:
        """Refuse shapes that do not fit each other or the patch size."""
        sizes = check_shape("rgb", self.rgb, "B F H W 3")
        for name, shape in {"alpha": "B F H W 1", "times": "B F", "viewmats": "B F 4 4", "Ks": "B F 3 3"}.items():
            check_shape(name, getattr(self, name), shape, sizes)
        if sizes["F"] < 1:
            raise InputError("rgb: expected at least one frame")
        if sizes["H"] % patch or sizes["W"] % patch:
            raise InputError(f"rgb: expected height and width divisible by {patch}, got {sizes['H']}x{sizes['W']}; resize the views")


class LRM4D(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="chronosplat",
    license="apache-2.0",
    coders={LRM4DConfig: (asdict, lambda data: config_from_dict(data))},
):
    """The large reconstruction model for space-time."""

    def __init__(self, config: LRM4DConfig | dict[str, Any]) -> None:
        super().__init__()
        config = config_from_dict(config) if isinstance(config, dict) else config  # a hub's config.json comes as a dict
        self.config = config
        self.head = MovingHead(config.sweep) if config.head == "moving" else PaperHead()
        cells = (config.patch // config.sweep.stride) ** 2
        self.cell_inputs = cells * config.sweep.depths * config.sweep.channels if config.head == "moving" else 0
        pixels = config.patch**2
        map_channels = 11 if config.head == "moving" else 10
        self.embed = nn.Linear(pixels * map_channels + self.cell_inputs, config.width, bias=False)
        self.embed_norm = nn.LayerNorm(config.width, bias=False)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio, config.qk_norm) for _ in range(config.layers))
        self.out_norm = nn.LayerNorm(config.width, bias=False)
        self.pixel_outputs = pixels * self.head.channels
        self.out = nn.Linear(config.width, self.pixel_outputs + cells * self.head.cell_channels, bias=False)
        self.checkpointing = False
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
        if config.head == "moving":
            nn.init.normal_(self.out.weight, std=INIT_STD / 4)  # begin near the priors

    def forward(self, frames: Frames) -> PredictedGaussians:
        """Predict F H W Gaussians from F pictures.

        Raises:
            InputError: shapes that do not fit, or a size not divisible by the patch size.
        """
        frames.check(self.config.patch)
        context = self._context(frames)
        tokens = self.embed_norm(self.embed(self._tokens_in(frames, context)))
        for index, block in enumerate(self.blocks):
            within = self.config.frame_layers and index % 2 == 0
            x = tokens.view(-1, tokens.shape[1] // frames.rgb.shape[1], tokens.shape[2]) if within else tokens
            again = self.checkpointing and self.training
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
            tokens = x.view(tokens.shape)
        channels = self.out(self.out_norm(tokens)).float()
        return self._tokens_out(channels, frames, context)

    def reconstruct(self, views: Views) -> Gaussians4D:
        """A scene in the capture's own world and seconds; see :func:`chronosplat.models.reconstruct.reconstruct`."""
        from chronosplat.models.reconstruct import reconstruct  # late: that module stands on this one

        return reconstruct(self, views)

    def _context(self, frames: Frames) -> PixelContext:
        H, W = frames.rgb.shape[2:4]
        origins, directions = pixel_rays(frames.viewmats, frames.Ks, W, H)
        sweep = None
        if self.config.head == "moving":
            sweep = plane_sweep(frames.rgb, frames.alpha, frames.times, frames.viewmats, frames.Ks, self.config.sweep)
        pixel_angle = 1 / frames.Ks[..., 0, 0]
        return PixelContext(frames.rgb, frames.alpha, origins, directions, frames.times, frames.viewmats, pixel_angle, sweep)

    def _tokens_in(self, frames: Frames, context: PixelContext) -> Tensor:
        """Pixel maps [rgb, t, ray direction, nearest point (, alpha)] and, with a sweep, its features: flat patches."""
        t = frames.times[:, :, None, None, None].expand_as(frames.alpha)
        maps = [frames.rgb * 2 - 1, t, context.directions, nearest_points(context.origins, context.directions)]
        if context.sweep is None:
            return patchify(torch.cat(maps, -1), self.config.patch)
        pixels = patchify(torch.cat([*maps, frames.alpha * 2 - 1], -1), self.config.patch)
        silhouettes = context.sweep.silhouettes.flatten(-2) * 0.5 + 1
        features = torch.cat([silhouettes, context.sweep.colors * 4 - 1], -1)
        return torch.cat([pixels, patchify(features, self.config.patch // self.config.sweep.stride)], -1)

    def _tokens_out(self, channels: Tensor, frames: Frames, context: PixelContext) -> PredictedGaussians:
        F_, H, W = frames.rgb.shape[1:4]
        patch, stride = self.config.patch, self.config.sweep.stride
        raw = unpatchify(channels[..., : self.pixel_outputs], patch, F_, H, W)
        cells = None
        if context.sweep is not None:
            cells = unpatchify(channels[..., self.pixel_outputs :], patch // stride, F_, H // stride, W // stride)
        return self.head(raw, cells, context)


def config_from_dict(data: dict[str, Any]) -> LRM4DConfig:
    """A config from its JSON form."""
    sweep = dict(data.get("sweep", {}))
    sweep["windows"] = tuple(sweep.get("windows", SweepConfig.windows))
    return LRM4DConfig(**{**data, "sweep": SweepConfig(**sweep)})


def parameter_count(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
