"""ImageDream's multi-view diffusion U-Net and image resampler, key-compatible with the released checkpoint.

The U-Net denoises the latents of F views of one object jointly: four views around it and, fifth, the input image, whose
latents replace the noise. Self-attention spans all F views. Text and image tokens enter by cross-attention, each with its
own keys and values (ImageDream, arXiv 2312.02201, section 3).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chronosplat.shapes import InputError, check_shape


@dataclass(frozen=True)
class ImageDreamConfig:
    """Sizes under the released code's names, with the released values as defaults.

    Attributes:
        attention_resolutions: downsampling factors with attention.
        ip_dim: image tokens after the resampler; 0 for text only (MVDream). image_width: channels of the image encoder's tokens.
    """

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (4, 2, 1)
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_head_channels: int = 64
    context_dim: int = 1024
    camera_dim: int = 16
    ip_dim: int = 16
    transformer_depth: int = 1
    image_width: int = 1280


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attend from queries [B, L, C] to keys and values [B, M, C], multi-head."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Embed timesteps [N] as [N, width]: cosines, then sines, of falling frequencies."""
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(width // 2, device=timesteps.device) / (width // 2))
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class CrossAttention(nn.Module):
    """Attention to a context; with ``image``, attention to image tokens is added."""

    def __init__(self, width: int, context: int, heads: int, image: bool = False) -> None:
        super().__init__()
        self.heads, self.image = heads, image
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        if image:
            self.to_k_ip = nn.Linear(context, width, bias=False)
            self.to_v_ip = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(self, x: Tensor, context: Tensor, image: Tensor | None = None) -> Tensor:
        """Update x [B, L, C] from context [B, M, D] and image [B, I, D]."""
        q = self.to_q(x)
        out = attention(q, self.to_k(context), self.to_v(context), self.heads)
        if self.image and image is not None:
            out = out + attention(q, self.to_k_ip(image), self.to_v_ip(image), self.heads)
        return self.to_out(out)


class GatedLinear(nn.Module):
    """GEGLU: a linear layer whose second half gates the first through GELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class MultiViewBlock(nn.Module):
    """Self-attention over all views of an object, cross-attention, and a feed-forward layer."""

    def __init__(self, width: int, context: int, heads: int, image: bool) -> None:
        super().__init__()
        self.attn1 = CrossAttention(width, width, heads)
        layers = nn.Sequential(GatedLinear(width, 4 * width), nn.Dropout(0.0), nn.Linear(4 * width, width))
        self.ff = nn.Sequential(OrderedDict(net=layers))
        self.attn2 = CrossAttention(width, context, heads, image)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, text: Tensor, image: Tensor | None, views: int) -> Tensor:
        """Update x [B * F, L, C]."""
        joint = x.unflatten(0, (-1, views)).flatten(1, 2)
        normed = self.norm1(joint)
        x = (self.attn1(normed, normed) + joint).view(x.shape)
        x = self.attn2(self.norm2(x), text, image) + x
        return self.ff(self.norm3(x)) + x


class SpatialTransformer(nn.Module):
    """Multi-view blocks over the pixels of a feature map, with a residual connection."""

    def __init__(self, width: int, config: ImageDreamConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        heads = width // config.num_head_channels
        self.transformer_blocks = nn.ModuleList(
            MultiViewBlock(width, config.context_dim, heads, config.ip_dim > 0) for _ in range(config.transformer_depth)
        )
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Tensor, image: Tensor | None, views: int) -> Tensor:
        """Update x [B * F, C, H, W]."""
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, text, image, views)
        return self.proj_out(tokens).transpose(1, 2).reshape(x.shape) + x


class ResBlock(nn.Module):
    """Two normalised convolutions, the timestep embedding added in between, with a residual connection."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, outputs))
        self.out_layers = nn.Sequential(nn.GroupNorm(32, outputs), nn.SiLU(), nn.Dropout(0.0), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x [N, inputs, H, W] and embedding [N, E] to [N, outputs, H, W]."""
        inner = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(inner)


def downsample(width: int) -> nn.Module:
    """Halve the height and width."""
    return nn.Sequential(OrderedDict(op=nn.Conv2d(width, width, 3, stride=2, padding=1)))


def upsample(width: int) -> nn.Module:
    """Double the height and width."""
    return nn.Sequential(OrderedDict(nearest=nn.Upsample(scale_factor=2.0), conv=nn.Conv2d(width, width, 3, padding=1)))


class PerceiverAttention(nn.Module):
    """Attention from the latents to the tokens and the latents."""

    def __init__(self, width: int, heads: int = 12, head_width: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.to_out = nn.Linear(heads * head_width, width, bias=False)

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """Map tokens [B, L, C] and latents [B, I, C] to [B, I, C]."""
        latents = self.norm2(latents)
        k, v = self.to_kv(torch.cat([self.norm1(tokens), latents], dim=1)).chunk(2, dim=-1)
        return self.to_out(attention(self.to_q(latents), k, v, self.heads))


class Resampler(nn.Module):
    """Perceiver resampler of the image encoder's tokens."""

    def __init__(self, config: ImageDreamConfig) -> None:
        super().__init__()
        width = config.context_dim
        self.latents = nn.Parameter(torch.randn(1, config.ip_dim, width) / width**0.5)
        self.proj_in = nn.Linear(config.image_width, width)
        self.proj_out = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)

        def mlp() -> nn.Sequential:
            expand, project = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
            return nn.Sequential(nn.LayerNorm(width), expand, nn.GELU(), project)

        self.layers = nn.ModuleList(nn.ModuleList([PerceiverAttention(width), mlp()]) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, L, image_width] to [B, ip_dim, context_dim]."""
        latents = self.latents.expand(len(tokens), -1, -1)
        tokens = self.proj_in(tokens)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            attend, mlp = layer
            latents = attend(tokens, latents) + latents
            latents = mlp(latents) + latents
        return self.norm_out(self.proj_out(latents))


class ImageDreamUNet(nn.Module):
    """The denoiser of F views per object; module names are the released checkpoint's."""

    def __init__(self, config: ImageDreamConfig) -> None:
        super().__init__()
        self.config = config
        base, embedding = config.model_channels, 4 * config.model_channels
        if config.ip_dim:
            self.image_embed = Resampler(config)
        self.time_embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.camera_embed = nn.Sequential(nn.Linear(config.camera_dim, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        widths = [base * m for m in config.channel_mult]

        def at(level: int, inputs: int) -> list[nn.Module]:
            attends = 2**level in config.attention_resolutions
            blocks: list[nn.Module] = [ResBlock(inputs, widths[level], embedding)]
            return blocks + ([SpatialTransformer(widths[level], config)] if attends else [])

        down: list[list[nn.Module]] = [[nn.Conv2d(config.in_channels, base, 3, padding=1)]]
        skips, width = [base], base
        for level, outputs in enumerate(widths):
            for _ in range(config.num_res_blocks):
                down.append(at(level, width))
                width = outputs
                skips.append(width)
            if level < len(widths) - 1:
                down.append([downsample(width)])
                skips.append(width)
        self.input_blocks = nn.ModuleList(nn.ModuleList(blocks) for blocks in down)
        self.middle_block = nn.ModuleList(
            [ResBlock(width, width, embedding), SpatialTransformer(width, config), ResBlock(width, width, embedding)]
        )
        up: list[list[nn.Module]] = []
        for level, outputs in reversed(list(enumerate(widths))):
            for i in range(config.num_res_blocks + 1):
                blocks = at(level, width + skips.pop())
                width = outputs
                up.append(blocks + ([upsample(width)] if level and i == config.num_res_blocks else []))
        self.output_blocks = nn.ModuleList(nn.ModuleList(blocks) for blocks in up)
        self.out = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, config.out_channels, 3, padding=1))

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        cameras: Tensor,
        image_tokens: Tensor | None = None,
        image_latents: Tensor | None = None,
        views: int = 5,
    ) -> Tensor:
        """Predict the noise [B * F, 4, h, w].

        Args:
            latents: [B * F, 4, h, w], object-major. timesteps: [B * F].
            text: [B * F, L, context_dim]. cameras: [B * F, camera_dim] flattened camera-to-world matrices.
            image_tokens: [B * F, M, image_width] of the image encoder; None for text only.
            image_latents: [B, 4, h, w], replace the latents of every object's last view.
            views: F.

        Raises:
            InputError: shapes that do not fit.
        """
        c = self.config
        sizes = check_shape("latents", latents, f"N {c.in_channels} H W")
        if sizes["N"] % views:
            raise InputError(f"latents: expected a multiple of {views} views, got {sizes['N']}")
        check_shape("timesteps", timesteps, "N", sizes)
        check_shape("text", text, f"N L {c.context_dim}", sizes)
        check_shape("cameras", cameras, f"N {c.camera_dim}", sizes)
        if image_latents is not None:
            check_shape("image_latents", image_latents, f"{sizes['N'] // views} {c.in_channels} H W", sizes)
            latents = latents.unflatten(0, (-1, views)).clone()
            latents[:, -1] = image_latents
            latents = latents.flatten(0, 1)
        image = None
        if image_tokens is not None:
            if not c.ip_dim:
                raise InputError("image_tokens: this network accepts text only")
            check_shape("image_tokens", image_tokens, f"N M {c.image_width}", sizes)
            image = self.image_embed(image_tokens)
        embedding = self.time_embed(timestep_embedding(timesteps, c.model_channels).to(latents.dtype)) + self.camera_embed(cameras)

        def run(blocks: nn.Module, x: Tensor) -> Tensor:
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                if isinstance(block, ResBlock):
                    x = block(x, embedding)
                elif isinstance(block, SpatialTransformer):
                    x = block(x, text, image, views)
                else:
                    x = block(x)
            return x

        x, skips = latents, []
        for blocks in self.input_blocks:
            x = run(blocks, x)
            skips.append(x)
        x = run(self.middle_block, x)
        for blocks in self.output_blocks:
            x = run(blocks, torch.cat([x, skips.pop()], dim=1))
        return self.out(x)
