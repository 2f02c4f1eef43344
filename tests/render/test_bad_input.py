"""Bad input raises InputError; the message names the argument, what was expected and what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.render import RasterInputs, cpu, gsplat, native, rasterize, render
from chronosplat.shapes import InputError
from tests.render.raster_cases import random_inputs, scene_3d


def inputs() -> RasterInputs:
    return random_inputs(gaussians=7, scenes=2, views=3, moving=True, width=16, height=12)


def holed(count: int) -> torch.Tensor:
    scales = inputs().scales.clone()
    scales.view(-1)[:count] = float("nan")
    return scales


def focal(value: float) -> torch.Tensor:
    Ks = inputs().Ks.clone()
    Ks[1, 2, 1, 1] = value
    return Ks


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "means flat": ({"means": torch.zeros(2, 7)}, r"means: expected shape \[B, N, 3\], got \[2, 7\]"),
    "quats of three": ({"quats": torch.zeros(2, 7, 3)}, r"quats: expected shape \[B=2, N=7, 4\], got \[2, 7, 3\]"),
    "fewer scales": ({"scales": torch.ones(2, 6, 3)}, r"scales: expected shape \[B=2, N=7, 3\], got \[2, 6, 3\]"),
    "opacities with axis": ({"opacities": torch.ones(2, 7, 1)}, r"opacities: expected shape \[B=2, N=7\], got \[2, 7, 1\]"),
    "four colours": ({"colors": torch.ones(2, 7, 4)}, r"colors: expected shape \[B=2, N=7, 3\]"),
    "velocities": ({"velocities": torch.ones(2, 7, 2)}, r"velocities: expected shape \[B=2, N=7, 3\]"),
    "time centres": ({"time_centers": torch.ones(2, 8)}, r"time_centers: expected shape \[B=2, N=7\]"),
    "time sigmas": ({"time_sigmas": torch.ones(7)}, r"time_sigmas: expected shape \[B=2, N=7\]"),
    "times of other views": ({"times": torch.zeros(2, 4)}, r"times: expected shape \[B=2, V=3\], got \[2, 4\]"),
    "viewmats 3x4": ({"viewmats": torch.zeros(2, 3, 3, 4)}, r"viewmats: expected shape \[B=2, V, 4, 4\], got \[2, 3, 3, 4\]"),
    "other scenes": ({"viewmats": torch.zeros(1, 3, 4, 4)}, r"viewmats: expected shape \[B=2, V, 4, 4\]"),
    "Ks of other views": ({"Ks": torch.ones(2, 2, 3, 3)}, r"Ks: expected shape \[B=2, V=3, 3, 3\], got \[2, 2, 3, 3\]"),
    "integer opacities": ({"opacities": torch.ones(2, 7, dtype=torch.int64)}, "opacities: expected floating point, got torch.int64"),
    "another device": ({"colors": torch.zeros(2, 7, 3, device="meta")}, "colors: on meta, but means on cpu; move them together"),
    "one NaN": ({"scales": holed(1)}, "scales: 1 of 42 values are NaN or infinite"),
    "five NaN": ({"scales": holed(5)}, "scales: 5 of 42 values are NaN or infinite"),
    "infinite times": ({"times": torch.full((2, 3), float("inf"))}, "times: 6 of 6 values are NaN or infinite"),
    "no velocities": ({"velocities": None}, "velocities, time_centers, time_sigmas and times: give all of them, or none"),
    "no centres": ({"time_centers": None}, "give all of them, or none"),
    "no sigmas": ({"time_sigmas": None}, "give all of them, or none"),
    "no times": ({"times": None}, "give all of them, or none"),
    "focal zero": ({"Ks": focal(0.0)}, "Ks: focal lengths must be positive, got 0"),
    "focal negative": ({"Ks": focal(-3.0)}, "Ks: focal lengths must be positive, got -3"),
    "no width": ({"width": 0}, "image size: expected at least 1x1, got 0x12"),
    "no height": ({"height": 0}, "image size: expected at least 1x1, got 16x0"),
    "negative height": ({"height": -4}, "image size: expected at least 1x1, got 16x-4"),
    "endless width": ({"width": 1 << 21}, "image size: expected at most 1048576 pixels along an edge, got 2097152x12"),
    "covars beside quats": ({"covars": torch.zeros(2, 7, 3, 3)}, "shapes of the Gaussians: give quats and scales, or covars alone"),
    "covars beside scales": ({"covars": torch.zeros(2, 7, 3, 3), "quats": None}, "give quats and scales, or covars alone"),
    "no scales": ({"scales": None}, "give quats and scales, or covars alone"),
    "no shapes": ({"scales": None, "quats": None}, "give quats and scales, or covars alone"),
    "covars flat": ({"scales": None, "quats": None, "covars": torch.zeros(2, 7, 6)}, r"covars: expected shape \[B=2, N=7, 3, 3\]"),
    "unknown mode": ({"rasterize_mode": "smooth"}, "rasterize_mode: expected classic or antialiased, got 'smooth'"),
    "near at zero": ({"near_plane": 0.0}, "near_plane and far_plane: expected 0 < near < far, got 0 and 1e"),
    "near beyond far": ({"near_plane": 3.0, "far_plane": 2.0}, "expected 0 < near < far, got 3 and 2"),
    "far NaN": ({"far_plane": float("nan")}, "expected 0 < near < far, got 0.01 and nan"),
    "negative blur": ({"eps2d": -0.1}, "eps2d: expected a number of at least 0, got -0.1"),
    "negative clip": ({"radius_clip": -1.0}, "radius_clip: expected a number of at least 0, got -1"),
    "infinite threshold": ({"opacity_min": float("inf")}, "opacity_min: expected a number of at least 0, got inf"),
}


@pytest.mark.parametrize("case", list(BAD))
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_bad_input_raises(case: str, backend: str) -> None:
    change, message = BAD[case]
    with pytest.raises(InputError, match=message):
        rasterize(replace(inputs(), **change), backend)


def test_unchanged_inputs_are_valid() -> None:
    assert rasterize(inputs(), "cpu").rgb.shape == (2, 3, 12, 16, 3)


def test_large_finite_values_are_not_taken_for_infinite() -> None:
    colors = torch.full((2, 7, 3), 3e38, dtype=torch.float32)
    replace(inputs().map(lambda t: t.float()), colors=colors).check()


UNKNOWN = r"backend: expected auto, reference, cpu, gsplat; got 'vulkan'"


def test_unknown_backend_lists_the_known() -> None:
    with pytest.raises(InputError, match=UNKNOWN):
        rasterize(inputs(), "vulkan")
    with pytest.raises(InputError, match=UNKNOWN):
        render(scene_3d(), orbit([0.0], size=16), backend="vulkan")


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is available here")
def test_gsplat_without_cuda_names_the_remedy() -> None:
    assert gsplat.unavailable() is not None
    with pytest.raises(RuntimeError, match=r"backend gsplat: no CUDA device.*backend='cpu'"):
        rasterize(inputs(), "gsplat")


def test_cpu_backend_refuses_other_devices() -> None:
    with pytest.raises(InputError, match=r"backend cpu: the scene is on meta; move it with \.to\('cpu'\)"):
        cpu.rasterize(inputs().map(lambda t: t.to("meta")))


@pytest.mark.parametrize("background", ["mauve", [1.0, 0.0], 0.5, torch.zeros(3, 3), torch.zeros(2, 16, 16, 3)])
def test_unknown_background(background: Any) -> None:
    with pytest.raises(InputError, match=r"background: (expected|shape)"):
        render(scene_3d(), orbit([0.0], size=16), background=background)


def test_missing_library_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    native.library.cache_clear()
    monkeypatch.setattr(native, "LIBRARY", Path("nowhere") / "libchronosplat.so")
    with pytest.raises(RuntimeError, match="reinstall chronosplat"):
        native.library()
    native.library.cache_clear()
