"""The loss of renderings against images, with its gradient computed in the same pass; natively on the CPU.

``render_loss`` renders and compares tile by tile, and returns the gradients of the Gaussians without keeping any image.
The twins in torch serve other devices, and judge in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref, c_double
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from chronosplat.render import cpu, native
from chronosplat.render.inputs import RasterInputs
from chronosplat.render.render import choose_backend, rasterize
from chronosplat.shapes import InputError, check_shape


@dataclass(frozen=True)
class Targets:
    """The images that V renderings are compared with, and how.

    The loss is ``mean((c - t)^2) + l1_weight mean(|c - t|) + alpha_weight mean((a - t_a)^2)`` with colours c and t on white.
    Means are over V whole images, so renderings of windows have the gradient that renderings of whole images would have.

    Attributes:
        images: [F, H, W, 4] uint8, straight colours and alpha; or [F, H, W, 3] float32 on white. Never copied.
        alphas: [F, H, W, 1] float32 with float images; None with bytes.
        l1_weight: of the absolute error of colours. alpha_weight: of the squared error of alpha.
        which: indices of the V images; None: all.
        corners: x and y of the renderings' first pixels in the images, V pairs; None: the renderings are whole.
        weights: [V] or [V, h, w] factors of the loss at each rendering or pixel; None: 1.
    """

    images: Tensor
    alphas: Tensor | None = None
    l1_weight: float = 0.0
    alpha_weight: float = 0.0
    which: Sequence[int] | None = None
    corners: Sequence[tuple[int, int]] | None = None
    weights: Tensor | None = None

    def check(self, width: int, height: int) -> None:
        """Check everything against renderings of ``width`` x ``height`` pixels.

        Raises:
            InputError: a shape, type or window does not fit.
        """
        given_bytes = self.images.dtype == torch.uint8
        sizes = check_shape("images", self.images, "F H W 4" if given_bytes else "F H W 3")
        if given_bytes == (self.alphas is not None):
            raise InputError("alphas: expected with float images alone; bytes have their own")
        if self.alphas is not None:
            check_shape("alphas", self.alphas, "F H W 1", sizes)
            if self.images.dtype != torch.float32 or self.alphas.dtype != torch.float32:
                raise InputError(f"images: expected uint8, or float32 with alphas; got {self.images.dtype} and {self.alphas.dtype}")
        if not self.images.is_contiguous() or not (self.alphas is None or self.alphas.is_contiguous()):
            raise InputError("images, alphas: expected contiguous tensors, which every step reads; call .contiguous() once")
        if self.weights is not None and tuple(self.weights.shape) not in ((self.count,), (self.count, height, width)):
            raise InputError(f"weights: expected [{self.count}] or [{self.count}, {height}, {width}], got {list(self.weights.shape)}")
        if self.corners is not None and len(self.corners) != self.count:
            raise InputError(f"corners: expected {self.count} pairs, got {len(self.corners)}")
        if self.which is not None and not all(0 <= k < sizes["F"] for k in self.which):
            raise InputError(f"which: expected values from 0 to {sizes['F'] - 1}, got {list(self.which)}")
        for x, y in self.origins():
            if not (0 <= x <= sizes["W"] - width and 0 <= y <= sizes["H"] - height):
                where = f"{width}x{height} at ({x}, {y})"
                raise InputError(f"corners: a window of {where} leaves the image of {sizes['W']}x{sizes['H']}; move it inside")
        if not (self.l1_weight >= 0 and self.alpha_weight >= 0):
            raise InputError(f"l1_weight, alpha_weight: expected at least 0, got {self.l1_weight:g} and {self.alpha_weight:g}")

    @property
    def count(self) -> int:
        """V."""
        return len(self.images) if self.which is None else len(self.which)

    def origins(self) -> list[tuple[int, int]]:
        """The corners, (0, 0) where none are given."""
        return [(0, 0)] * self.count if self.corners is None else list(self.corners)

    def windows(self, width: int, height: int) -> tuple[Tensor, Tensor]:
        """Colours on white [V, h, w, 3] and alphas [V, h, w, 1] as float32."""
        which = range(self.count) if self.which is None else self.which
        places = [(k, slice(y, y + height), slice(x, x + width)) for k, (x, y) in zip(which, self.origins(), strict=True)]
        images = torch.stack([self.images[place] for place in places])
        if self.alphas is not None:
            return images, torch.stack([self.alphas[place] for place in places])
        values = images.float() / 255
        return values[..., :3] * values[..., 3:] + 1 - values[..., 3:], values[..., 3:]


def image_loss(rgb: Tensor, alpha: Tensor, targets: Targets) -> Tensor:
    """Compute the loss of V renderings.

    Args:
        rgb: [V, h, w, 3] colour times coverage. alpha: [V, h, w, 1].

    Returns:
        A scalar, differentiable in rgb and alpha; NaN where one of the values is.

    Raises:
        InputError: see Targets.
    """
    sizes = check_shape("rgb", rgb, "V H W 3", {"V": targets.count})
    check_shape("alpha", alpha, "V H W 1", sizes)
    targets.check(sizes["W"], sizes["H"])
    if not _is_native(rgb, targets):
        return image_loss_reference(rgb, alpha, targets)
    return _ImageLoss.apply(rgb, alpha, targets)  # pyright: ignore[reportReturnType]


def image_loss_reference(rgb: Tensor, alpha: Tensor, targets: Targets) -> Tensor:
    """Compute :func:`image_loss` with torch: differentiable in the targets, too."""
    height, width = rgb.shape[1:3]
    wanted, wanted_alpha = targets.windows(width, height)
    off = rgb + 1 - alpha - wanted
    each = (off.square() + targets.l1_weight * off.abs()).mean(-1)
    if targets.alpha_weight > 0:
        each = each + targets.alpha_weight * (alpha - wanted_alpha)[..., 0].square()
    if targets.weights is not None:
        each = each * (targets.weights if targets.weights.dim() == 3 else targets.weights[:, None, None])
    return each.sum() / (targets.count * targets.images.shape[1] * targets.images.shape[2])


def render_loss(x: RasterInputs, targets: Targets, backend: str = "auto") -> Tensor:
    """Render B scenes of V views and compute the loss of the B V renderings, in the order [scene, view].

    On the CPU this is one native call, gradients included.

    Returns:
        A scalar, differentiable in the Gaussians and viewmats.

    Raises:
        InputError: see Targets and RasterInputs; values that are not finite.
    """
    x.check()
    backend = choose_backend(backend, x.means.device)
    if targets.count != x.viewmats.shape[0] * x.viewmats.shape[1]:
        raise InputError(f"targets: expected {x.viewmats.shape[0] * x.viewmats.shape[1]} images, one for each view; got {targets.count}")
    targets.check(x.width, x.height)
    if backend != "cpu" or x.empty or not _is_native(x.means, targets):
        return render_loss_reference(x, targets, backend)
    tensors = (*x.gaussians(), x.viewmats)
    return _RenderLoss.apply(x, targets, *tensors)  # pyright: ignore[reportReturnType]


def render_loss_reference(x: RasterInputs, targets: Targets, backend: str) -> Tensor:
    """Compute :func:`render_loss` by rendering whole images first."""
    out = rasterize(x, backend)
    return image_loss_reference(out.rgb.flatten(0, 1), out.alpha.flatten(0, 1), targets)


def _is_native(like: Tensor, targets: Targets) -> bool:
    """Whether the native kernel computes this; not for other devices and precisions, nor where targets need gradients."""
    others = [t for t in (targets.images, targets.alphas, targets.weights) if t is not None]
    at_home = all(t.device.type == "cpu" and not t.requires_grad for t in others)
    return at_home and like.device.type == "cpu" and like.dtype == torch.float32


def _mirror(targets: Targets, width: int, height: int) -> tuple[native.ImageTargets, list[Any]]:
    """The targets as the library sees them, and what must stay alive during the call."""
    count, (images, full_height, full_width) = targets.count, targets.images.shape[:3]
    which = torch.tensor(range(count) if targets.which is None else list(targets.which), dtype=torch.int32)
    corners = torch.tensor(targets.origins(), dtype=torch.int32)
    weights = None if targets.weights is None else targets.weights.float().contiguous()
    as_bytes = targets.alphas is None
    mirror = native.ImageTargets(
        count, width, height, images, full_width, full_height, torch.get_num_threads(),
        0 if weights is None else 1 if weights.dim() == 1 else 2, targets.l1_weight, targets.alpha_weight,
        native.address(which), native.address(corners), native.address(targets.images) if as_bytes else None,
        None if as_bytes else native.address(targets.images), native.address(targets.alphas), native.address(weights),
    )  # fmt: skip
    return mirror, [which, corners, weights]


class _ImageLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rgb: Tensor, alpha: Tensor, targets: Targets) -> Tensor:
        rgb, alpha = rgb.contiguous(), alpha.float().contiguous()
        mirror, _alive = _mirror(targets, rgb.shape[2], rgb.shape[1])
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        gradients = (torch.empty_like(rgb), torch.empty_like(alpha)) if wanted else (None, None)
        loss = c_double()
        pointers = [native.address(t) for t in gradients]
        status = native.library().image_loss(byref(mirror), native.address(rgb), native.address(alpha), byref(loss), *pointers)
        if status:
            raise InputError(cpu.FAILURES[native.Status(status)].replace("render:", "image_loss:"))
        if wanted:
            ctx.save_for_backward(*gradients)
        return torch.tensor(loss.value, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return (*_scaled(ctx.saved_tensors, grad_outputs[0]), None)


class _RenderLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: RasterInputs, targets: Targets, *tensors: Tensor | None) -> Tensor:
        plain = [None if t is None else t.detach().float().contiguous() for t in tensors]
        x = replace(x.with_gaussians(plain[:-1]), viewmats=plain[-1], Ks=_plain(x.Ks), times=_plain(x.times))
        gradients = [None if t is None else torch.empty_like(t) for t in plain]
        if not ctx.needs_input_grad[-1]:
            gradients[-1] = None
        scene, (mirror, _alive), loss = cpu.native_scene(x), _mirror(targets, x.width, x.height), c_double()
        out = native.SplatGradients(*(native.address(t) for t in gradients))
        if status := native.library().splat_fit(byref(scene), byref(mirror), byref(loss), byref(out)):
            cpu.fail(status, x)
        ctx.present = [t is not None for t in gradients]
        ctx.save_for_backward(*[t for t in gradients if t is not None])
        return torch.tensor(loss.value, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        found = iter(_scaled(ctx.saved_tensors, grad_outputs[0]))
        return (None, None, *[next(found) if present else None for present in ctx.present])


def _plain(tensor: Tensor | None) -> Tensor:
    return tensor.detach().float().contiguous() if tensor is not None else None  # pyright: ignore[reportReturnType]


def _scaled(gradients: Sequence[Tensor], by: Tensor) -> list[Tensor]:
    factor = float(by)
    return list(gradients) if factor == 1 else [t * factor for t in gradients]
