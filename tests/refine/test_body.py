"""A body that deforms is recovered from a few views, and its optimisation ends as it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.events import Events
from chronosplat.refine import Problem, RefineConfig, fit, random_in_hull
from chronosplat.refine import start as start_module
from chronosplat.refine import training_views as training_views_module
from chronosplat.refine.body import BodyStepper
from chronosplat.refine.config import DeformConfig
from chronosplat.refine.motion import MotionConfig
from chronosplat.refine.optimise import Budget, run_steps
from chronosplat.refine.strategies.deform import body_start, deform_starts
from chronosplat.refine.training_views import training_views
from chronosplat.render import render
from chronosplat.scenes import DeformableGaussians, Scene
from chronosplat.scenes.deformable import skin
from chronosplat.shapes import InputError
from tests.refine.kit import SIZE, alternating, bending, few, psnr_of, rigid, ring, same, video, views_of
from tests.refine.test_corrections import turned
from tests.scene_kit import tilted_world

SMALL = DeformConfig(rests=1, motion=MotionConfig(nodes=16))
AT_ONCE = replace(SMALL, growth=0.0, opening=0.0, final_density=0.5, stiff=1.0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images need few Gaussians."""
    monkeypatch.setattr(start_module, "MIN_GAUSSIANS", 600)


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@cache
def given(body: Callable[[], DeformableGaussians] = bending) -> Views:
    """24 views of a bar from alternating cameras."""
    return views_of(body(), *alternating())


@cache
def elsewhere(body: Callable[[], DeformableGaussians]) -> Views:
    """The bar from other directions, between the timestamps."""
    cameras = orbit([45.0, 135.0, 225.0, 315.0], 15.0, size=SIZE)
    return views_of(body(), cameras, torch.tensor([0.3, 0.8, 1.3, 1.8], dtype=torch.float64))


def deforming(steps: int = 40, **more: object) -> RefineConfig:
    return few(steps, **({"strategy": "deform", "deform": SMALL} | more))


def problem(views: Views, config: RefineConfig) -> Problem:
    points = random_in_hull(views, 50)
    return Problem(points, views, training_views(points, views), config, Events())


def stepper(views: Views | None = None, config: RefineConfig | None = None, rest: float = 1.0) -> BodyStepper:
    found = problem(views or given(), config or deforming())
    return body_start(found, rest).begin(found.training, found.config)


def state(body: BodyStepper) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in body.fields.items()}


def identical(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(t, b[name]) for name, t in a.items())


def usable(scene: Scene) -> bool:
    return scene.num_gaussians > 0 and all(bool(t.isfinite().all()) for t in scene.tensors().values())


@pytest.mark.parametrize(("body", "wanted"), [(rigid, 31.0), (bending, 29.0)])
def test_a_moving_body_is_recovered_and_better_than_by_free_gaussians(body: Callable[[], DeformableGaussians], wanted: float) -> None:
    """From directions and at times that no view has."""
    done, free = (fit(given(body), deforming(200, strategy=strategy)) for strategy in ("deform", "free"))
    assert isinstance(done.scene, DeformableGaussians)
    assert psnr_of(done.scene, elsewhere(body)) > wanted
    assert psnr_of(done.scene, elsewhere(body)) > psnr_of(free.scene, elsewhere(body)) + 2
    assert psnr_of(done.scene, given(body)) > 35
    assert (done.facts["strategy"], done.facts["start"], done.facts["steps"], done.facts["kept"]) == ("deform", "visual hull", 200, False)


def test_timestamps_join_outward_from_the_rest_time() -> None:
    body = stepper(config=deforming(deform=replace(SMALL, growth=0.4)))
    rest, every = body.rest, range(24)
    assert rest in (11, 12)
    farthest = []
    for share in (0.0, 0.1, 0.2, 0.3, 0.4):
        seen = [i for _ in range(30) for i in body.draw(every, [], share)]
        farthest.append(max(abs(i - rest) for i in seen))
    assert farthest[0] == 3
    assert farthest == sorted(farthest)
    assert farthest[1] < farthest[3] < farthest[4] == max(rest, 23 - rest)
    assert sorted(body.draw([0, 1], [], 0.0)) == [0, 1]  # where no view is near, all take part
    body = stepper(config=deforming(deform=replace(SMALL, growth=0.0), batch=24))
    assert sorted(body.draw(every, [], 0.0)) == list(every)


def test_gaussians_grow_to_their_number_and_transparent_ones_go() -> None:
    config = deforming(deform=replace(SMALL, final_density=1.0, densify_every=0.1, densify_until=0.6, growth=0.0))
    found = problem(given(), config)
    start = body_start(found, 1.0)
    start.fields["opacities"][:60] = 0.001
    begun = len(start.fields["means"])
    body, counts = start.begin(found.training, config), []
    for step in range(20):
        assert not body.step(body.draw(range(24), [], step / 20), step / 20)
        counts.append(len(body.fields["means"]))
        assert all(len(body.fields[name]) == counts[-1] for name in ("quats", "scales", "opacities", "colors"))
        assert len(body.skinning[0]) == len(body.pull) == counts[-1]
        torch.testing.assert_close(body.skinning[1].sum(-1), torch.ones(counts[-1]))
    assert counts[:2] == [begun, begun]
    assert counts == sorted(counts)
    assert begun < counts[3] < counts[-1] <= 2 * begun
    assert counts[12:] == [counts[12]] * 8  # none after densify_until
    assert float(body.fields["opacities"].detach().min()) > 0.01
    assert float(body.motion.shift.abs().max()) > 0
    assert bool((body.fields["opacities"] < 1).all())


@pytest.mark.parametrize(("most", "count"), [(10_000, 300), (200, 200)])
def test_the_number_is_bounded(most: int, count: int) -> None:
    body = stepper(config=deforming(deform=replace(SMALL, max_gaussians=most, final_density=0.1)))
    assert (body.begun, body.target) == (count, count)  # never fewer in the end


def test_it_grows_at_once_to_time_the_last_steps() -> None:
    body = stepper(config=deforming(deform=replace(SMALL, density=0.02, final_density=0.1)))
    assert body.begun * 3 < body.target
    body.grow()
    assert len(body.fields["means"]) == body.target
    assert not body.step(body.draw(range(24), [], 0.99), 0.99)


def test_images_grow_and_stiffness_falls_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_views_module, "SMALLEST", 8)
    body = stepper(config=deforming(deform=replace(SMALL, coarse_until=0.4, fine_from=0.7, stiff_until=0.5)))
    sizes, stiffness = [], []
    for share in (0.0, 0.39, 0.41, 0.69, 0.71, 1.0):
        assert not body.step(body.draw(range(24), [], share), share)
        sizes.append(body.views.size[0])
        stiffness.append(body.rigidity)
    assert sizes == [8, 8, 16, 16, 32, 32]
    assert stiffness == sorted(stiffness, reverse=True)
    assert stiffness[0] == pytest.approx(SMALL.rigidity * SMALL.stiff)
    assert stiffness[4] == stiffness[5] == pytest.approx(SMALL.rigidity / body.seen)
    assert body.psnr(range(24)) > 5


def test_it_is_whole_once_all_timestamps_take_part() -> None:
    body = stepper(config=deforming(deform=replace(SMALL, growth=0.4)))
    assert [body.is_whole(share) for share in (0.0, 0.2, 0.41, 1.0)] == [False, False, True, True]
    assert stepper(config=deforming(deform=replace(SMALL, growth=0.0))).is_whole(0.0)


def test_splitting_hardly_changes_the_images() -> None:
    body = stepper(config=deforming(deform=replace(AT_ONCE, densify_every=2.0)))
    run_steps(body, range(24), Budget(60))
    before, count = body.psnr(range(24)), len(body.fields["means"])
    body.adam.lrs = dict.fromkeys(body.adam.lrs, 0.0)
    body.deform, body.target = replace(body.deform, densify_every=0.1, densify_until=0.9), 450
    assert not body.step([0, 1], 0.8)
    assert len(body.fields["means"]) > 1.3 * count
    assert body.psnr(range(24)) > before - 3


def test_transparent_gaussians_alone_do_not_break_it() -> None:
    config = deforming(12, deform=replace(SMALL, densify_every=0.1))
    found = problem(given(), config)
    start = body_start(found, 1.0)
    start.fields["opacities"].fill_(0.001)
    body = start.begin(found.training, config)
    steps, broken = run_steps(body, range(24), Budget(12))
    assert (steps, broken) == (12, "")
    assert usable(body.scene(found.scene))


@pytest.mark.parametrize("world", [False, True])
def test_the_scene_is_what_the_steps_render_also_between_timestamps(world: bool) -> None:
    views = replace(given(), cameras=given().cameras.transformed(tilted_world())) if world else given()
    found = problem(views, deforming())
    body = body_start(found, 1.0).begin(found.training, found.config)
    run_steps(body, range(24), Budget(80))
    scene = body.scene(found.scene)
    assert scene.world == found.scene.world
    assert scene.seconds == pytest.approx((0.0, 2.0))
    assert (scene.means.dtype, scene.knots.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(scene.quats.norm(dim=-1), torch.ones(scene.num_gaussians))
    with torch.no_grad():
        shown = render(scene, views.cameras, views.times, cull=False)
        body.skinning = body.motion.skinning(body.fields["means"])
        rgb, alpha = body.render(range(24))
    torch.testing.assert_close(shown.rgb, rgb, rtol=0, atol=0.02)
    torch.testing.assert_close(shown.alpha, alpha, rtol=0, atol=0.02)
    assert psnr_of(scene, views) == pytest.approx(body.psnr(range(24)), abs=0.05)
    times = torch.linspace(0, 2, 97)
    shifts, turns = body.motion.at(times)
    moved = scene.evaluate(times.double())["means"]
    wanted = skin(scene.means, scene.quats, *body.skinning, body.motion.nodes, shifts, turns)[0].detach()
    path = float((wanted - wanted.mean(0)).norm(dim=-1).max())
    assert float((moved - wanted).norm(dim=-1).max()) < 0.02 * path
    assert path > 0.02


def test_one_timestamp_makes_a_static_scene() -> None:
    done = fit(ring(), deforming(60))
    assert isinstance(done.scene, DeformableGaussians)
    assert len(done.scene.knots) == 1
    assert done.scene.seconds is None
    assert not done.scene.shifts.any()
    assert not done.scene.turns.any()
    assert set(stepper(ring(), rest=0.0).fields) == {"means", "quats", "scales", "opacities", "colors"}
    assert psnr_of(done.scene, ring()) > 25


def test_cameras_that_all_look_the_same_way_suffice() -> None:
    views = views_of(rigid(), *video(12, sides=False))
    done = fit(views, deforming(60))
    assert usable(done.scene)
    assert psnr_of(done.scene, views) > 25


def test_empty_masks_at_some_times_are_no_obstacle() -> None:
    alphas = given().alphas.clone()
    alphas[9:15] = 0  # around the only rest time of SMALL
    views = replace(given(), alphas=alphas)
    assert fit(views, deforming(20)).facts["strategy"] == "deform"
    done = fit(views, deforming(60, deform=replace(SMALL, rests=4)))
    assert usable(done.scene)
    assert not 0.75 < done.facts["rest"] < 1.25
    shown = [i for i in range(24) if not 9 <= i < 15]
    assert psnr_of(done.scene, views[shown]) > 20


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_nan_ends_it_with_the_last_good_state(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = deforming(deform=AT_ONCE, lr_floor=1.0, batch=2)
    good = stepper(config=config)
    run_steps(good, range(24), Budget(3))
    body, usual, calls = stepper(config=config), Tensor.backward, [0]

    def backward(loss: Tensor) -> None:
        calls[0] += 1
        usual(loss * (torch.nan if calls[0] == 4 else 1.0))

    if what == "gradient":
        monkeypatch.setattr(Tensor, "backward", backward)
    else:
        monkeypatch.setattr(body, "_loss", lambda chosen, usual=body._loss: usual(chosen) * (torch.nan if body.steps == 3 else 1.0))
    steps, broken = run_steps(body, range(24), Budget(9))
    assert (steps, broken) == (3, f"{'the loss' if what == 'loss' else 'a gradient'} became NaN")
    assert identical(state(body), state(good))
    assert usable(body.scene(random_in_hull(given(), 10)))


def test_a_fit_that_breaks_returns_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = BodyStepper._loss
    monkeypatch.setattr(BodyStepper, "_loss", lambda body, chosen: usual(body, chosen) * (torch.nan if body.steps == 30 else 1.0))
    done = fit(given(), deforming(60))
    assert (done.facts["stopped"], done.facts["steps"]) == ("the loss became NaN", 30)
    assert isinstance(done.scene, DeformableGaussians)
    assert usable(done.scene)
    assert psnr_of(done.scene, given()) > 18


def test_cameras_and_exposure_are_corrected_and_returned() -> None:
    views = replace(given(), cameras=turned(given().cameras, 1.5), images=(given().images * 0.9).clamp(0, 1))
    done = fit(views, deforming(240, cameras=True, exposure=True))
    assert done.cameras is not None
    assert done.exposure is not None
    torch.testing.assert_close(done.cameras.viewmats[0], views.cameras.viewmats[0], rtol=0, atol=1e-6)
    assert psnr_of(done.scene, replace(views, cameras=done.cameras)) > psnr_of(done.scene, views) + 1
    assert done.exposure[0].shape == done.exposure[1].shape == (24, 3)
    assert done.facts["cameras_turned_degrees"] > 0.1
    assert done.facts["exposure_gain"] > 0


def test_the_result_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = fit(given(), deforming(30)).scene
    torch.manual_seed(2)
    assert same(fit(given(), deforming(30)).scene, one)
    other = fit(given(), deforming(30, seed=1)).scene
    assert other.tensors()["means"].shape != one.tensors()["means"].shape or not same(other, one)


@pytest.mark.usefixtures("threads")
def test_threads_change_no_more_than_rounding() -> None:
    torch.set_num_threads(1)
    one = fit(given(), deforming(20)).scene.tensors()
    torch.set_num_threads(2)
    for name, t in fit(given(), deforming(20)).scene.tensors().items():
        torch.testing.assert_close(t, one[name], rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_empty_masks_everywhere_are_refused() -> None:
    empty = replace(given(), alphas=torch.zeros_like(given().alphas))
    with pytest.raises(InputError, match="the silhouettes do not intersect"):
        fit(empty, deforming(60))
    found = problem(given(), deforming())
    nothing = replace(found, views=empty, training=training_views(found.scene, empty))
    assert deform_starts(nothing) == []


def test_views_of_double_precision_do_as_well() -> None:
    double = Views(given().images.double(), given().alphas.double(), given().cameras.to(dtype=torch.float64), given().times)
    assert psnr_of(fit(double, deforming(30)).scene, given()) == pytest.approx(psnr_of(fit(given(), deforming(30)).scene, given()), abs=0.3)


def test_the_fast_renderer_and_the_reference_have_the_same_loss_and_gradients() -> None:
    found = []
    for backend in ("cpu", "reference"):
        body = stepper(config=deforming(deform=AT_ONCE, backend=backend))
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            body.motion.shift.add_(0.02 * torch.randn(body.motion.shift.shape, generator=random))
            body.motion.turn.add_(0.2 * torch.randn(body.motion.turn.shape, generator=random))
            body.fields["scales"].mul_(0.7 + 0.6 * torch.rand(body.fields["scales"].shape, generator=random))
        body.rigidity = 0.01
        body.generator.manual_seed(0)  # drops the same Gaussians
        loss = body._loss([2, 13, 20])
        loss.backward()
        found.append((float(loss.detach()), {name: t.grad for name, t in body.fields.items()}))
    (fast, gradients), (slow, wanted) = found
    assert fast == pytest.approx(slow, rel=1e-4)
    for name, gradient in gradients.items():
        other = wanted[name]
        assert gradient is not None
        assert other is not None
        assert float(other.norm()) > 0, name
        assert float((gradient - other).norm()) < 0.01 * float(other.norm()), name
