"""``render``: backgrounds, depth, times, near and far planes, choice of backend."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity, intrinsics, orbit
from chronosplat.render import background_color, choose_backend, cpu, render
from chronosplat.render.render import _log_once
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError
from tests.render.raster_cases import scene_3d, scene_4d, sequence

BACKENDS = ("reference", "cpu")


def one_gaussian(z: float, opacity: float = 1.0, scale: float = 0.5) -> Gaussians3D:
    """An opaque Gaussian on the axis of the camera at the origin that looks along +Z."""
    return Gaussians3D(
        means=torch.tensor([[0.0, 0.0, z]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), scale),
        opacities=torch.tensor([opacity]),
        colors=torch.tensor([[0.2, 0.4, 0.6]]),
    )


def straight_camera(size: int = 17) -> Cameras:
    return Cameras(torch.eye(4)[None], intrinsics(size, size, 50.0).float()[None], size, size)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("background", ["white", "black", "gray", (0.1, 0.5, 0.9)])
def test_background_fills_what_is_not_covered(backend: str, background: str | tuple[float, ...]) -> None:
    scene, cameras = scene_3d(), orbit([0.0, 90.0], size=24, radius=3.0)
    black = render(scene, cameras, background="black", backend=backend)
    out = render(scene, cameras, background=background, backend=backend)
    named: dict[str, Tensor] = {"white": torch.ones(3), "black": torch.zeros(3), "gray": torch.full((3,), 0.5)}
    color = named[background] if isinstance(background, str) else torch.tensor(background)
    assert torch.allclose(out.rgb, black.rgb + (1 - black.alpha) * color.double(), atol=1e-6)
    assert torch.equal(out.alpha, black.alpha)


@pytest.mark.parametrize("backend", BACKENDS)
def test_center_pixel_of_one_gaussian(backend: str) -> None:
    """The pixel centre lies on the mean, so alpha is the opacity and colour the Gaussian's over the background."""
    out = render(one_gaussian(2.0, opacity=0.7), straight_camera(), background="white", backend=backend)
    assert out.alpha[0, 8, 8, 0].item() == pytest.approx(0.7, abs=1e-6)
    assert out.rgb[0, 8, 8].tolist() == pytest.approx([0.7 * c + 0.3 for c in (0.2, 0.4, 0.6)], abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gaussian_falls_off_as_its_projection(backend: str) -> None:
    """sigma f / z pixels wide, and 0.3 square pixels of blur on top."""
    camera = straight_camera()
    out = render(one_gaussian(2.0, opacity=0.7, scale=0.2), camera, backend=backend)
    variance = (0.2 * float(camera.Ks[0, 0, 0]) / 2.0) ** 2 + 0.3
    expected = [0.7 * float(torch.exp(torch.tensor(-0.5 * d * d / variance))) for d in range(4)]
    assert out.alpha[0, 8, 8:12, 0].tolist() == pytest.approx(expected, abs=1e-5)
    assert out.alpha[0, 8:12, 8, 0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("z", [0.5, 2.0, 30.0])
def test_depth_is_the_distance_along_the_axis(backend: str, z: float) -> None:
    out = render(one_gaussian(z, scale=0.5 * z), straight_camera(), backend=backend)
    assert torch.allclose(out.depth, torch.full_like(out.depth, z), rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_depth_is_in_the_capture_s_units(backend: str) -> None:
    scene = replace(one_gaussian(2.0), world=Similarity(scale=10.0))
    out = render(scene, straight_camera(), backend=backend)
    assert out.depth[0, 8, 8, 0].item() == pytest.approx(20.0, rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_near_and_far_planes_cut(backend: str) -> None:
    near, far = one_gaussian(0.2), one_gaussian(5.0)
    assert not render(near, straight_camera(), near_plane=0.3, backend=backend).alpha.any()
    assert not render(far, straight_camera(), far_plane=4.0, backend=backend).alpha.any()
    assert render(near, straight_camera(), near_plane=0.1, backend=backend).alpha.max() > 0.9
    assert not render(one_gaussian(-2.0), straight_camera(), backend=backend).alpha.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_front_hides_back(backend: str) -> None:
    front, back = one_gaussian(1.0), one_gaussian(3.0)
    both = Gaussians3D(*(torch.cat([b, f]) for b, f in zip(back.tensors().values(), front.tensors().values(), strict=True)))
    both = replace(both, colors=torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))
    out = render(both, straight_camera(), background="black", backend=backend)
    red, green, _ = out.rgb[0, 8, 8].tolist()
    assert green == pytest.approx(0.999, abs=1e-5)
    assert red == 0  # stopped, since behind it the transmittance would fall below 1e-4


def test_blur_is_an_option() -> None:
    sharp = render(one_gaussian(2.0, scale=0.01), straight_camera(), eps2d=0.01)
    soft = render(one_gaussian(2.0, scale=0.01), straight_camera(), eps2d=3.0)
    assert soft.alpha.sum() > 3 * sharp.alpha.sum()


@pytest.mark.parametrize("make", [scene_4d, sequence])
def test_moving_scenes_need_times(make: object) -> None:
    assert callable(make)
    with pytest.raises(InputError, match="one time per camera"):
        render(make(), orbit([0.0], size=16))


def test_times_must_match_the_cameras() -> None:
    with pytest.raises(InputError, match=r"times: expected one per camera \[2\], got \[3\]"):
        render(scene_4d(), orbit([0.0, 90.0], size=16), [0.0, 0.1, 0.2])


def test_times_are_allowed_for_static_scenes() -> None:
    cameras = orbit([0.0, 90.0], size=16, radius=3.0)
    assert torch.equal(render(scene_3d(), cameras, [0.0, 1.0]).rgb, render(scene_3d(), cameras).rgb)


def test_images_are_differentiable_in_the_scene() -> None:
    scene = scene_4d().map(lambda t: t.clone().requires_grad_())
    out = render(scene, orbit([0.0], size=16, radius=3.0), [0.3])
    (out.rgb.sum() + out.depth.sum()).backward()
    for name, tensor in scene.tensors().items():
        assert tensor.grad is not None, name
        assert float(tensor.grad.abs().max()) > 0, name


def test_auto_chooses_cpu_and_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    _log_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="chronosplat"):
        assert choose_backend("auto", torch.device("cpu")) == "cpu"
        assert choose_backend("auto", torch.device("cpu")) == "cpu"
    assert [r.message for r in caplog.records] == ["renderer: cpu, because the scene is on cpu"]
    assert choose_backend("auto", torch.device("cuda")) == "gsplat"


def test_background_has_the_dtype_of_the_image() -> None:
    color = background_color([0, 0.5, 1], torch.zeros(1, dtype=torch.float64))
    assert color.dtype == torch.float64
    assert color.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_of_the_scene_is_kept(dtype: torch.dtype) -> None:
    out = render(scene_3d().to(dtype=dtype), orbit([0.0], size=16, radius=3.0), backend="cpu")
    assert out.rgb.dtype == out.alpha.dtype == out.depth.dtype == dtype


@pytest.mark.parametrize("shape", [(2, 3), (24, 24, 3), (2, 24, 24, 3)])
def test_backgrounds_by_frame_and_by_pixel(shape: tuple[int, ...]) -> None:
    scene, cameras = scene_3d(), orbit([0.0, 90.0], size=24, radius=3.0)
    color = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if len(shape) == 2:
        color = color[:, None, None]
    black = render(scene, cameras, background="black")
    assert torch.allclose(render(scene, cameras, background=color).rgb, black.rgb + (1 - black.alpha) * color, atol=1e-6)


def test_faint_gaussians_are_culled_unless_gradients_are_required() -> None:
    """Below 0.05 in weight, or in opacity times weight, as in the 4D-LRM paper."""
    scene, cameras = scene_4d(gaussians=300), orbit([0.0, 90.0], size=24, radius=3.0)
    times = [0.9, 0.9]
    all_of_it, culled = (render(scene, cameras, times, cull=cull) for cull in (False, True))
    assert torch.equal(render(scene, cameras, times).rgb, culled.rgb)
    weight = torch.exp(-0.5 * ((0.9 - scene.time_centers) / scene.time_sigmas) ** 2)
    strong = (weight >= 0.05) & (scene.opacities * weight >= 0.05)
    assert 20 < int(strong.sum()) < 280
    removed = render(scene.map(lambda t: t[strong]), cameras, times, cull=False)
    assert torch.allclose(culled.rgb, removed.rgb, atol=1e-7)
    assert not torch.allclose(all_of_it.rgb, culled.rgb, atol=1e-3)
    learning = scene.map(lambda t: t.clone().requires_grad_())
    assert torch.equal(render(learning, cameras, times).rgb, all_of_it.rgb)
    with torch.no_grad():
        assert torch.equal(render(learning, cameras, times).rgb, culled.rgb)


def test_a_sequence_is_moved_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of the backend ever sees more than one frame."""
    module = sys.modules[choose_backend.__module__]
    seen: list[torch.Size] = []
    monkeypatch.setitem(module.BACKENDS, "cpu", lambda x: (seen.append(x.means.shape), cpu.rasterize(x))[1])
    cameras = orbit([0.0, 40.0, 80.0, 120.0, 160.0], size=16, radius=3.0)
    out = render(sequence(frames=3, gaussians=20), cameras, [0.0, 0.1, 1.0, 2.0, 2.2], backend="cpu", device="cpu")
    assert seen == [torch.Size([1, 20, 3])] * 5  # one call for each distinct time
    assert out.rgb.shape == (5, 16, 16, 3)
