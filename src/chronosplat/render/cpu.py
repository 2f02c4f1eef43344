"""The fast backend for CPUs: one native call for all scenes and views, differentiable in every Gaussian parameter."""

from __future__ import annotations

from ctypes import byref, c_void_p
from typing import Any

import torch
from torch import Tensor

from chronosplat.render import native
from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.shapes import InputError

FAILURES = {
    1: "out of memory while rendering; render fewer views at once, or smaller pictures",
    2: "more than 2^31 (Gaussian, tile) intersections; render fewer views at once, or smaller pictures",
}


class Handle:
    """Owns the state that the forward pass leaves for the backward pass."""

    def __init__(self) -> None:
        self.pointer = c_void_p()

    def __del__(self) -> None:
        if self.pointer.value:
            native.library().splat_free(self.pointer)


def _structure(x: RasterInputs) -> native.SplatScene:
    B, N, V = x.means.shape[0], x.means.shape[1], x.viewmats.shape[1]
    pointers = [native.address(t) for t in (*x.gaussians(), x.viewmats, x.Ks, x.times)]
    return native.SplatScene(
        B, V, N, x.width, x.height, x.eps2d, x.near_plane, x.far_plane, *pointers, torch.get_num_threads()
    )  # fmt: skip


def _check(status: int) -> None:
    if status:
        raise InputError(FAILURES[status])


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: RasterInputs, *gaussians: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        x = x.with_gaussians(gaussians)
        B, V = x.viewmats.shape[:2]
        rgb = torch.empty(B, V, x.height, x.width, 3)
        alpha, depth = torch.empty(B, V, x.height, x.width, 1), torch.empty(B, V, x.height, x.width, 1)
        handle = Handle()
        image = native.SplatImage(*(native.address(t) for t in (rgb, alpha, depth)))
        _check(native.library().splat_forward(byref(_structure(x)), byref(image), byref(handle.pointer)))
        ctx.save_for_backward(*gaussians, rgb, alpha, depth)
        ctx.inputs, ctx.handle = x, handle
        return rgb, alpha, depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - torch decorates it
        *gaussians, rgb, alpha, depth = ctx.saved_tensors
        if ctx.handle is None:
            raise RuntimeError("the cpu backend's graph was already differentiated once; render again instead of retain_graph")
        handle, ctx.handle = ctx.handle, None
        x = ctx.inputs.with_gaussians(gaussians)
        image = native.SplatImage(*(native.address(t) for t in (rgb, alpha, depth)))
        upstream = [g.contiguous().float() for g in grad_outputs]
        out = [None if g is None else torch.empty_like(g) for g in gaussians]
        grad_image = native.SplatImage(*(native.address(t) for t in upstream))
        scene = _structure(x)
        gradients = native.SplatGradients(*(native.address(t) for t in out))  # fields in the order of GAUSSIAN_FIELDS
        arguments = (byref(scene), handle.pointer, byref(image), byref(grad_image), byref(gradients))
        _check(native.library().splat_backward(*arguments))
        return (None, *out)


def rasterize(x: RasterInputs) -> RasterOutputs:
    """Render with the native library. Computes in float32; other precisions are converted there and back.

    Raises:
        InputError: tensors that are not on the CPU; out of memory; too many intersections.
        UnavailableError: the native library is missing.
    """
    if x.means.device.type != "cpu":
        raise InputError(f"backend cpu: the scene is on {x.means.device}; move it with .to('cpu') or use backend='gsplat'")
    dtype = x.means.dtype
    single = x.map(lambda t: t.float().contiguous())
    if 0 in (x.means.shape[0], x.means.shape[1], x.viewmats.shape[1]):
        return RasterOutputs.empty(x)
    rgb, alpha, depth = _Rasterize.apply(single, *single.gaussians())  # pyright: ignore[reportGeneralTypeIssues]
    return RasterOutputs(rgb.to(dtype), alpha.to(dtype), depth.to(dtype))


def isa_level() -> int:
    """The instruction set in use: 4 AVX-512, 3 AVX2, 2 SSE4, 1 the platform's own."""
    return int(native.library().chronosplat_isa_level())
