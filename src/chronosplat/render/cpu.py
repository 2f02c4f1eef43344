"""The native CPU backend: one call for all scenes and views, registered as a torch operator.

``chronosplat::rasterize`` and ``chronosplat::rasterize_backward`` have fake kernels and an autograd formula for
``torch.compile``. The state for the backward pass is a byte tensor that backward only reads, so a retained graph can be
differentiated again. Gradients are bitwise equal for any number of threads.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any, NoReturn

import torch
from torch import Tensor

from chronosplat.render import native
from chronosplat.render.inputs import GAUSSIAN_FIELDS, RasterInputs, RasterOutputs
from chronosplat.render.native import Status
from chronosplat.shapes import InputError

FAILURES = {
    Status.NOT_FINITE: "render: a value is NaN or infinite; remove it from the scene or the cameras",
    Status.NO_MEMORY: "render: out of memory; render fewer views at once, or smaller images",
    Status.TOO_MANY: "render: more than 2^31 (Gaussian, tile) intersections; render fewer views at once, or raise near_plane",
    Status.BAD_ARGUMENT: "render: the native library rejects the arguments; check their shapes and ranges",
    Status.BAD_STATE: "render: the saved state does not belong to these inputs; render again before the backward pass",
}
DIFFERENTIABLE = (*GAUSSIAN_FIELDS, "viewmats")


def fail(status: int, x: RasterInputs) -> NoReturn:
    """Raise what a status of the library means."""
    x.check()
    x.check_values()  # raises with the name of a tensor that is not finite
    raise InputError(FAILURES[Status(status)])


def native_scene(x: RasterInputs) -> native.SplatScene:
    """The inputs as the library sees them: contiguous, float32, on the CPU."""
    B, N, V = x.means.shape[0], x.means.shape[1], x.viewmats.shape[1]
    pointers = [native.address(t) for t in (*x.gaussians(), x.viewmats, x.Ks, x.times)]
    return native.SplatScene(
        B, V, N, x.width, x.height, torch.get_num_threads(), x.rasterize_mode == "antialiased", x.shared,
        x.eps2d, x.near_plane, x.far_plane, x.radius_clip, x.weight_min, x.opacity_min, *pointers,
    )  # fmt: skip


def _image(rgb: Tensor, alpha: Tensor, depth: Tensor) -> native.SplatImage:
    return native.SplatImage(native.address(rgb), native.address(alpha), native.address(depth))


@torch.library.custom_op("chronosplat::rasterize", mutates_args=(), device_types="cpu")
def rasterize_op(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    covars: Tensor | None,
    opacities: Tensor,
    colors: Tensor,
    velocities: Tensor | None,
    time_centers: Tensor | None,
    time_sigmas: Tensor | None,
    viewmats: Tensor,
    Ks: Tensor,
    times: Tensor | None,
    width: int,
    height: int,
    options: list[float],
    antialiased: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rgb [B, V, H, W, 3], alpha and depth [B, V, H, W, 1], and the state for backward (empty unless ``keep``)."""
    tensors = (means, quats, scales, covars, opacities, colors, velocities, time_centers, time_sigmas, viewmats, Ks, times)
    x = _inputs(tensors, width, height, options, antialiased)
    B, V = viewmats.shape[:2]
    rgb, alpha, depth = (torch.empty(B, V, height, width, c) for c in (3, 1, 1))
    state = native.SplatState()
    scene, image = native_scene(x), _image(rgb, alpha, depth)
    if status := native.library().splat_forward(byref(scene), byref(image), byref(state) if keep else None):
        fail(status, x)
    kept = native.tensor_over(state.block, state.bytes) if keep else torch.empty(0, dtype=torch.uint8)
    return rgb, alpha, depth, kept


@torch.library.custom_op("chronosplat::rasterize_backward", mutates_args=(), device_types="cpu")
def rasterize_backward_op(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    covars: Tensor | None,
    opacities: Tensor,
    colors: Tensor,
    velocities: Tensor | None,
    time_centers: Tensor | None,
    time_sigmas: Tensor | None,
    viewmats: Tensor,
    Ks: Tensor,
    times: Tensor | None,
    width: int,
    height: int,
    options: list[float],
    antialiased: bool,
    cameras: bool,
    rgb: Tensor,
    alpha: Tensor,
    depth: Tensor,
    state: Tensor,
    grad_rgb: Tensor,
    grad_alpha: Tensor,
    grad_depth: Tensor,
) -> list[Tensor]:
    """Return the gradients of the given fields, in the order of DIFFERENTIABLE; of viewmats only if ``cameras``."""
    tensors = (means, quats, scales, covars, opacities, colors, velocities, time_centers, time_sigmas, viewmats, Ks, times)
    x = _inputs(tensors, width, height, options, antialiased)
    gradients = [None if t is None else torch.empty_like(t) for t in x.gaussians()]
    gradients.append(torch.empty_like(viewmats) if cameras else None)
    upstream = [g.contiguous() for g in (grad_rgb, grad_alpha, grad_depth)]
    state = state if state.data_ptr() % 64 == 0 else _aligned(state)  # saved-tensor hooks may have copied it
    block = native.SplatState(state.data_ptr(), state.numel())
    scene, image, grad_image = native_scene(x), _image(rgb, alpha, depth), _image(upstream[0], upstream[1], upstream[2])
    out = native.SplatGradients(*(native.address(t) for t in gradients))  # fields in the order of DIFFERENTIABLE
    if status := native.library().splat_backward(byref(scene), byref(block), byref(image), byref(grad_image), byref(out)):
        fail(status, x)
    return [t for t in gradients if t is not None]


def _aligned(state: Tensor) -> Tensor:
    buffer = torch.empty(state.numel() + 64, dtype=torch.uint8)
    start = -buffer.data_ptr() % 64
    return buffer[start : start + state.numel()].copy_(state)


def _inputs(tensors: tuple[Any, ...], width: int, height: int, options: list[float], antialiased: bool) -> RasterInputs:
    means, quats, scales, covars, opacities, colors, velocities, centers, sigmas, viewmats, Ks, times = tensors
    mode = "antialiased" if antialiased else "classic"
    motion = (velocities, centers, sigmas, times)
    eps2d, near, far, clip, weight_min, opacity_min = options
    return RasterInputs(
        means, quats, scales, opacities, colors, viewmats, Ks, width, height, *motion, covars,
        eps2d, near, far, clip, mode, weight_min, opacity_min,
    )  # fmt: skip


@rasterize_op.register_fake
def _(means: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    viewmats, width, height, keep = rest[8], rest[11], rest[12], rest[15]
    B, V = viewmats.shape[:2]
    rgb, alpha, depth = (means.new_empty(B, V, height, width, c) for c in (3, 1, 1))
    size = torch.library.get_ctx().new_dynamic_size() if keep else 0
    return rgb, alpha, depth, means.new_empty(size, dtype=torch.uint8)


@rasterize_backward_op.register_fake
def _(*arguments: Any) -> list[Tensor]:
    gaussians, viewmats, cameras = arguments[:9], arguments[9], arguments[16]
    return [torch.empty_like(t) for t in (*gaussians, viewmats if cameras else None) if t is not None]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:12], *output)
    ctx.options = inputs[12:16]
    ctx.mark_non_differentiable(output[3])
    ctx.set_materialize_grads(False)  # else torch allocates zeros as large as the state


def _backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    cameras = ctx.needs_input_grad[9]
    upstream = [torch.zeros_like(output) if g is None else g for g, output in zip(grad_outputs[:3], saved[12:15], strict=True)]
    gradients = iter(rasterize_backward_op(*saved[:12], *ctx.options, cameras, *saved[12:], *upstream))
    return (*[None if t is None else next(gradients) for t in (*saved[:9], saved[9] if cameras else None)], *[None] * 7)


rasterize_op.register_autograd(_backward, setup_context=_setup_context)


def rasterize(x: RasterInputs) -> RasterOutputs:
    """Render with the native library in float32; outputs have the dtype of the inputs.

    Raises:
        InputError: tensors not on the CPU, values that are not finite, out of memory, or too many intersections.
        UnavailableError: the native library is missing.
    """
    if x.means.device.type != "cpu":
        raise InputError(f"backend cpu: the scene is on {x.means.device}; move it with .to('cpu') or use backend='gsplat'")
    if x.empty:
        return RasterOutputs.blank(x)
    dtype = x.means.dtype
    inputs = (*x.gaussians(), x.viewmats, x.Ks.detach(), None if x.times is None else x.times.detach())  # Ks and times have no gradient
    tensors = [None if t is None else t.float().contiguous() for t in inputs]
    options = [x.eps2d, x.near_plane, x.far_plane, x.radius_clip, x.weight_min, x.opacity_min]
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors[:10])
    rgb, alpha, depth, *_ = rasterize_op(*tensors, x.width, x.height, options, x.rasterize_mode == "antialiased", keep)
    return RasterOutputs(rgb.to(dtype), alpha.to(dtype), depth.to(dtype))


def isa_level() -> int:
    """Return the instruction set in use: 4 AVX-512, 3 AVX2, 2 SSE4, 1 the platform's own."""
    return int(native.library().chronosplat_isa_level())
