"""The native image loss and the fused rendering loss against their twins: values, gradients, windows, threads, bad input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat.render import RasterInputs, rasterize
from chronosplat.render.image_loss import Targets, image_loss, image_loss_reference, render_loss, render_loss_reference
from chronosplat.render.inputs import GAUSSIAN_FIELDS
from chronosplat.shapes import InputError
from tests.render.raster_cases import random_inputs


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def targets(width: int = 70, height: int = 45, count: int = 5, as_bytes: bool = True, **more: Any) -> Targets:
    g = torch.Generator().manual_seed(1)
    rgba = torch.randint(0, 256, (count, height, width, 4), generator=g, dtype=torch.uint8)
    more = {"l1_weight": 0.1, "alpha_weight": 0.3} | more
    if as_bytes:
        return Targets(rgba, **more)
    values = rgba.float() / 255
    return Targets(values[..., :3].contiguous(), values[..., 3:].contiguous(), **more)


def renderings(width: int = 70, height: int = 45, count: int = 5) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(2)
    return torch.rand(count, height, width, 3, generator=g).requires_grad_(), torch.rand(
        count, height, width, 1, generator=g
    ).requires_grad_()


def found(function: Any, rgb: Tensor, alpha: Tensor, wanted: Targets) -> tuple[Tensor, ...]:
    loss = function(rgb, alpha, wanted)
    return (loss, *torch.autograd.grad(3 * loss, (rgb, alpha)))


def check(rgb: Tensor, alpha: Tensor, wanted: Targets) -> None:
    fast, slow = found(image_loss, rgb, alpha, wanted), found(image_loss_reference, rgb, alpha, wanted)
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-5, atol=0)
    for a, b in zip(fast[1:], slow[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-9)


WINDOW = {"which": [4, 0, 4], "corners": [(0, 0), (3, 7), (30, 15)]}


@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("l1_weight", [0.0, 0.1])
@pytest.mark.parametrize("alpha_weight", [0.0, 0.3])
def test_values_and_gradients_are_those_of_the_twin(as_bytes: bool, l1_weight: float, alpha_weight: float) -> None:
    check(*renderings(), targets(as_bytes=as_bytes, l1_weight=l1_weight, alpha_weight=alpha_weight))


@pytest.mark.parametrize("as_bytes", [True, False])
def test_windows_are_those_of_the_twin(as_bytes: bool) -> None:
    check(*renderings(40, 30, 3), targets(as_bytes=as_bytes, **WINDOW))


@pytest.mark.parametrize("shape", [(3,), (3, 30, 40)])
def test_weights_are_those_of_the_twin(shape: tuple[int, ...]) -> None:
    weights = torch.rand(*shape, generator=torch.Generator().manual_seed(3))
    check(*renderings(40, 30, 3), targets(**WINDOW, weights=weights))


def test_the_loss_is_that_of_its_formula() -> None:
    images, alphas = torch.full((1, 1, 2, 3), 0.5), torch.full((1, 1, 2, 1), 0.5)
    rgb, alpha = torch.full((1, 1, 2, 3), 0.25), torch.full((1, 1, 2, 1), 0.75)  # 0.5 on white: equal colours
    wanted = Targets(images, alphas, l1_weight=0.5, alpha_weight=0.5)
    assert float(image_loss(rgb, alpha, wanted)) == pytest.approx(0.5 * 0.25**2)
    assert float(image_loss(rgb + 0.1, alpha, wanted)) == pytest.approx(0.5 * 0.25**2 + 0.01 + 0.05, rel=1e-5)


def test_a_window_has_the_gradient_of_the_whole_image() -> None:
    rgb, alpha = renderings(count=1)
    whole = found(image_loss, rgb, alpha, targets(which=[2]))
    inside = (slice(None), slice(7, 37), slice(3, 43))
    part = [t.detach()[inside].requires_grad_() for t in (rgb, alpha)]
    window = found(image_loss, part[0], part[1], targets(which=[2], corners=[(3, 7)]))
    for a, b in zip(whole[1:], window[1:], strict=True):
        torch.testing.assert_close(a[inside], b, rtol=1e-5, atol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    rgb, alpha = renderings(6, 5, 2)
    wanted = targets(6, 5, 2)
    grads = found(image_loss, rgb, alpha, wanted)[1:]
    for tensor, grad, place in ((rgb, grads[0], (1, 2, 3, 1)), (alpha, grads[1], (0, 4, 1, 0))):
        with torch.no_grad():
            tensor[place] += 1e-3
            up = float(image_loss_reference(rgb.double(), alpha.double(), wanted))
            tensor[place] -= 2e-3
            down = float(image_loss_reference(rgb.double(), alpha.double(), wanted))
            tensor[place] += 1e-3
        assert float(grad[place]) / 3 == pytest.approx((up - down) / 2e-3, rel=2e-2)


def test_threads_do_not_change_a_bit() -> None:
    torch.set_num_threads(1)
    alone = found(image_loss, *renderings(), targets())
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(alone, found(image_loss, *renderings(), targets()), strict=True))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_value_that_is_no_number_shows_in_the_loss(value: float) -> None:
    rgb, alpha = renderings()
    with torch.no_grad():
        rgb[3, 40, 69, 2] = value
    loss, grad, _ = found(image_loss, rgb, alpha, targets())
    assert not torch.isfinite(loss)
    assert not torch.isfinite(grad[3, 40, 69, 2])
    assert torch.isfinite(grad).sum() == grad.numel() - 1


def test_targets_that_need_gradients_get_them() -> None:
    wanted = targets(as_bytes=False)
    images = wanted.images.requires_grad_()
    image_loss(*renderings(), wanted).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_double_precision_is_computed_in_double_precision() -> None:
    rgb, alpha = (t.double() for t in renderings())
    loss = image_loss(rgb, alpha, targets())
    assert loss.dtype == torch.float64
    assert loss == image_loss_reference(rgb, alpha, targets())


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "three channels of bytes": ({"images": torch.zeros(5, 45, 70, 3, dtype=torch.uint8)}, r"images: expected shape \[F, H, W, 4\]"),
    "not contiguous": (
        {"images": torch.zeros(5, 45, 70, 8, dtype=torch.uint8)[..., ::2]},
        r"contiguous tensors, .* call .contiguous\(\) once",
    ),
    "alphas with bytes": ({"alphas": torch.zeros(5, 45, 70, 1)}, "alphas: expected with float images alone"),
    "no alphas": ({"images": torch.zeros(5, 45, 70, 3)}, "alphas: expected with float images alone"),
    "doubles": ({"images": torch.zeros(5, 45, 70, 3).double(), "alphas": torch.zeros(5, 45, 70, 1)}, "images: expected uint8, or float32"),
    "other weights": ({"weights": torch.ones(4)}, r"weights: expected \[5\] or \[5, 45, 70\], got \[4\]"),
    "no such image": ({"which": [0, 1, 2, 3, 5]}, "which: expected values from 0 to 4, got"),
    "fewer images": ({"which": [0]}, r"rgb: expected shape \[V=1, H, W, 3\], got \[5, 45, 70, 3\]"),
    "fewer corners": ({"corners": [(0, 0)]}, "corners: expected 5 pairs, got 1"),
    "outside": ({"corners": [(0, 0)] * 4 + [(1, 0)]}, r"a window of 70x45 at \(1, 0\) leaves the image of 70x45; move it inside"),
    "negative corner": ({"corners": [(0, -1)] * 5}, "leaves the image"),
    "negative weight": ({"l1_weight": -1.0}, "l1_weight, alpha_weight: expected at least 0, got -1 and 0.3"),
    "NaN weight": ({"alpha_weight": float("nan")}, "l1_weight, alpha_weight: expected at least 0, got 0.1 and nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_targets_are_refused(name: str) -> None:
    changes, message = BAD[name]
    with pytest.raises(InputError, match=message):
        image_loss(*renderings(), replace(targets(), **changes))


def shared_inputs(scenes: int = 3, gaussians: int = 1500) -> RasterInputs:
    x = random_inputs(seed=5, gaussians=gaussians, scenes=scenes, views=1, width=50, height=40).map(lambda t: t.float())
    return replace(x, **{name: getattr(x, name)[:1] for name in ("scales", "opacities", "colors")})


def fit_inputs(kind: str) -> RasterInputs:
    if kind == "shared":
        return shared_inputs()
    x = random_inputs(seed=4, gaussians=1200, scenes=1, views=3, width=50, height=40, moving=kind == "moving")
    x = x.map(lambda t: t.float())
    if kind == "covars":
        half = torch.randn(1, 1200, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.05
        return replace(x, quats=None, scales=None, covars=half @ half.transpose(-1, -2))
    return x


def fitted(function: Any, x: RasterInputs, wanted: Targets, cameras: bool = True, *more: Any) -> tuple[Tensor, ...]:
    names = [*GAUSSIAN_FIELDS, *(["viewmats"] if cameras else [])]
    leaves = {name: t.detach().clone().requires_grad_() for name in names if (t := getattr(x, name)) is not None}
    loss = function(replace(x, **leaves), wanted, *more)
    return (loss, *torch.autograd.grad(2 * loss, list(leaves.values())))


FIT = {"which": [4, 0, 4], "corners": [(0, 0), (3, 5), (20, 1)]}


@pytest.mark.parametrize("kind", ["static", "moving", "shared", "covars"])
@pytest.mark.parametrize("cameras", [True, False])
def test_the_fused_loss_is_that_of_rendering_first(kind: str, cameras: bool) -> None:
    x = fit_inputs(kind)
    fast = fitted(render_loss, x, targets(**FIT), cameras)
    slow = fitted(render_loss_reference, x, targets(**FIT), cameras, "cpu")
    assert len(fast) == len(slow)
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-5, atol=0)
    for a, b in zip(fast[1:], slow[1:], strict=True):
        assert float((a - b).norm()) <= 2e-5 * float(b.norm())
        assert float(b.norm()) > 0


@pytest.mark.parametrize("kind", ["moving", "shared"])
def test_threads_do_not_change_a_bit_of_the_fused_loss(kind: str) -> None:
    torch.set_num_threads(1)
    alone = fitted(render_loss, fit_inputs(kind), targets(**FIT))
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(alone, fitted(render_loss, fit_inputs(kind), targets(**FIT)), strict=True))


def test_the_fused_loss_refuses_bad_input() -> None:
    x = fit_inputs("static")
    with pytest.raises(InputError, match="targets: expected 3 images, one for each view; got 5"):
        render_loss(x, targets())
    broken = replace(x, means=x.means.clone())
    broken.means[0, 7, 1] = torch.nan
    with pytest.raises(InputError, match="means: 1 of 3600 values are NaN or infinite"):
        render_loss(broken, targets(**FIT))


def test_a_nan_of_the_images_shows_in_the_fused_loss() -> None:
    wanted = targets(as_bytes=False, **FIT)
    wanted.images[4, 20, 30, 0] = torch.nan
    assert not torch.isfinite(render_loss(fit_inputs("static"), wanted))


def test_shared_fields_render_like_expanded_ones() -> None:
    """Images are equal bit for bit; gradients of the shared fields are sums over scenes."""
    x = shared_inputs()
    leaves = {name: getattr(x, name).clone().requires_grad_() for name in ("means", "quats", "scales", "opacities", "colors")}
    x = replace(x, **leaves)
    for backend in ("cpu", "reference"):
        small = x if backend == "cpu" else replace(x.map(lambda t: t[:, :40] if t.shape[1] == 1500 else t), width=20, height=16)
        one, other = rasterize(small, backend), rasterize(small.unshared(), backend)
        assert torch.equal(one.rgb, other.rgb)
        upstream = torch.randn(one.rgb.shape, generator=torch.Generator().manual_seed(1))
        grads = [torch.autograd.grad((out.rgb * upstream).sum() + out.alpha.sum(), list(leaves.values())) for out in (one, other)]
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))
            assert b.abs().max() > 0


def test_shared_fields_are_checked() -> None:
    x = shared_inputs()
    with pytest.raises(InputError, match=r"scales: expected shape \[1, N=1500, 3\], got \[3, 1500, 3\]"):
        rasterize(replace(x, scales=x.scales.expand(3, -1, -1)), "cpu")
    with pytest.raises(InputError, match="opacities: shared by scenes with covars or motion; expand them to all scenes"):
        rasterize(replace(x, quats=None, scales=None, covars=torch.zeros(3, 1500, 3, 3)), "cpu")
