"""The arguments that the gsplat backend passes to gsplat, checked without CUDA by a fake that calls the reference."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat.render import RasterInputs, gsplat, rasterize, reference
from chronosplat.shapes import UnavailableError
from tests.render.raster_cases import gradients, random_inputs, random_upstream


def rasterization(
    *, means: Tensor, quats: Tensor | None, scales: Tensor | None, opacities: Tensor, colors: Tensor, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, near_plane: float, far_plane: float, radius_clip: float, eps2d: float, packed: bool, render_mode: str,
    rasterize_mode: str, covars: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Any]]:  # fmt: skip
    """gsplat 1.5.3's, as far as it is used: any batch axes, colours with depth behind them, upper triangle of covars."""
    assert means.dtype == opacities.dtype == viewmats.dtype == torch.float32
    assert render_mode == "RGB+D"
    assert not packed
    assert means.shape[:-2] == viewmats.shape[:-3]
    if covars is not None:
        upper = covars.triu()
        covars = upper + upper.triu(1).transpose(-1, -2)
    x = RasterInputs(
        means, quats, scales, opacities, colors, viewmats, Ks, width, height, covars=covars, eps2d=eps2d, near_plane=near_plane,
        far_plane=far_plane, radius_clip=radius_clip, rasterize_mode=rasterize_mode,
    )  # fmt: skip
    out = reference.rasterize(x)
    return torch.cat([out.rgb, out.depth], -1), out.alpha, {}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gsplat, "unavailable", lambda: None)
    monkeypatch.setattr(gsplat, "_gsplat", lambda: SimpleNamespace(rasterization=rasterization))


def cases() -> dict[str, RasterInputs]:
    static = random_inputs(seed=3, gaussians=50, scenes=2, views=3, width=24, height=21).map(lambda t: t.float())
    moving = random_inputs(seed=4, gaussians=50, scenes=2, views=3, width=24, height=21, moving=True).map(lambda t: t.float())
    lopsided = torch.randn(2, 50, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.02
    covars = torch.eye(3) * 0.05 + lopsided
    return {
        "static": static,
        "moving": moving,
        "covars": replace(moving, quats=None, scales=None, covars=covars),
        "antialiased": replace(static, rasterize_mode="antialiased", eps2d=0.7),
        "culled": replace(moving, weight_min=0.4, opacity_min=0.3),
        "culled static": replace(static, opacity_min=0.5),
        "planes and clip": replace(static, near_plane=2.5, far_plane=3.5, radius_clip=4.0),
    }


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("case", list(cases()))
def test_same_images_and_gradients_as_the_reference(case: str) -> None:
    x = cases()[case]
    upstream = random_upstream(x, torch.ones(2, 3, x.height, x.width, 1, dtype=torch.bool))
    slow, expected = gradients(x, upstream, "reference")
    adapted, found = gradients(x, upstream, "gsplat")
    assert float(slow.alpha.detach().max()) > 0.3
    for name in ("rgb", "alpha", "depth"):
        assert torch.allclose(getattr(adapted, name), getattr(slow, name), atol=2e-5), name
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= 1e-3 * float(value.norm()) + 1e-9, name


@pytest.mark.usefixtures("stand_in")
def test_precision_is_converted_there_and_back() -> None:
    x = cases()["moving"].map(lambda t: t.double())
    assert rasterize(x, "gsplat").rgb.dtype == torch.float64


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (
            RuntimeError("Error building extension 'gsplat_cuda': nvcc fatal\nmore lines"),
            "Error building extension 'gsplat_cuda': nvcc fatal",
        ),
        (OSError("CUDA_HOME environment variable is not set"), "CUDA_HOME environment variable is not set"),
        (ImportError(""), "ImportError"),
        (None, "no CUDA toolkit"),
    ],
)
def test_failed_build_names_the_remedy(failure: Exception | None, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """gsplat compiles its kernels when its backend module is imported, and leaves None where there is no toolkit."""

    def backend(name: str) -> ModuleType:
        assert name == "gsplat.cuda._backend"
        if failure is not None:
            raise failure
        return SimpleNamespace(_C=None)  # pyright: ignore[reportReturnType]

    gsplat._gsplat.cache_clear()
    monkeypatch.setattr(gsplat.importlib, "import_module", backend)
    with pytest.raises(UnavailableError, match="did not build") as caught:
        gsplat._gsplat()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    for remedy in ("nvcc must match", "TORCH_CUDA_ARCH_LIST", "backend='cpu'"):
        assert remedy in str(caught.value)
    gsplat._gsplat.cache_clear()
