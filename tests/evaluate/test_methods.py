"""Methods: which names there are, in which order, and what each is given and takes."""

from __future__ import annotations

import time
from functools import cache

import pytest
import torch

from chronosplat.captures import Views
from chronosplat.evaluate import methods
from chronosplat.evaluate.methods import DEFAULT, Bench, check_methods
from chronosplat.evaluate.setups import alternating
from chronosplat.evaluate.studio import Split, split_of
from chronosplat.metrics import mean_psnr
from chronosplat.refine import BEST, FAST, RefineConfig, Refined
from chronosplat.scenes import Gaussians4D
from chronosplat.shapes import InputError
from tests.evaluate.kit import Knowing, scene_studio

GOOD = [
    DEFAULT,
    (),
    ("white",),
    ("nearest", "feed-forward"),
    ("fast",),
    ("best", "10", "0.5", "1e2"),
    ("scratch=10", "scratch=0.5"),
    ("fast", "scratch=fast"),
    ("best", "white", "scratch=best"),
]
BAD = {
    ("off",): "^unknown method 'off'; methods: white, nearest,",
    ("",): "^unknown method ''",
    ("white", "Fast"): "^unknown method 'Fast'",
    ("feedforward",): "^unknown method 'feedforward'",
    ("-3",): "^unknown method '-3'",
    ("0",): "^unknown method '0'",
    ("nan",): "^unknown method 'nan'",
    ("inf",): "^unknown method 'inf'",
    ("scratch",): "^unknown method 'scratch'",
    ("scratch=",): "^unknown method 'scratch='",
    ("scratch=off",): "^unknown method 'scratch=off'",
    ("scratch=white",): "^unknown method 'scratch=white'",
    ("scratch=-1",): "^unknown method 'scratch=-1'",
    ("scratch=scratch=1",): "^unknown method 'scratch=scratch=1'",
    ("scratch=fast",): "^methods: scratch=fast takes as long as fast; list fast before it$",
    ("scratch=fast", "fast"): "list fast before it$",
    ("fast", "scratch=best"): "^methods: scratch=best takes as long as best; list best before it$",
}


@cache
def split() -> Split:
    studio = scene_studio(8)
    return split_of(studio, alternating(studio, 8))


def bench(seed: int = 0) -> tuple[Bench, Knowing]:
    model = Knowing(scene_studio(8).scene)
    return Bench(model, split().inputs, split().targets, seed, "cpu"), model


class Optimiser:
    """Stands in for both optimisers: takes a while by the clock, and keeps what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.refined: list[RefineConfig] = []
        self.fitted: list[RefineConfig] = []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(methods, "refine_scene", self.refine_scene)
        monkeypatch.setattr(methods, "fit", self.fit)

    def refine_scene(self, scene: Gaussians4D, views: Views, config: RefineConfig) -> Refined:
        assert views is split().inputs
        self.refined.append(config)
        self.now += config.seconds or 5.0
        return Refined(scene, {"steps": 7})

    def fit(self, views: Views, config: RefineConfig, device: str) -> Refined:
        assert views is split().inputs
        assert device == "cpu"
        self.fitted.append(config)
        self.now += config.seconds or 0.0
        return Refined(scene_studio(8).scene, {"steps": 9})

    def slow(self, model: Knowing, seconds: float) -> None:
        """Make the model take its time."""
        quick = model.reconstruct

        def reconstruct(views: Views) -> Gaussians4D:
            self.now += seconds
            return quick(views)

        model.reconstruct = reconstruct  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("names", GOOD, ids=",".join)
def test_good_names(names: tuple[str, ...]) -> None:
    check_methods(names)  # does not raise


@pytest.mark.parametrize("names", BAD, ids=",".join)
def test_bad_names(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=BAD[names]):
        check_methods(names)


def test_white_and_nearest_need_no_model() -> None:
    here, model = bench()
    white, nearest = here.run("white"), here.run("nearest")
    assert float(white.images.min()) == 1
    assert white.images.shape == nearest.images.shape == split().targets.images.shape
    inputs = split().inputs.on_white()
    assert all(any(torch.equal(image, known) for known in inputs) for image in nearest.images)
    assert (white.seconds, white.gaussians, nearest.seconds, nearest.steps) == (0.0, 0, 0.0, 0)
    assert model.asked == 0


def test_times_run_from_images_to_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction that took 3 s is made once, and counts for everything that builds on it."""
    here, model = bench()
    optimiser = Optimiser(monkeypatch)
    optimiser.slow(model, 3.0)
    assert here.run("fast").seconds == pytest.approx(8.0)
    assert here.run("feed-forward").seconds == pytest.approx(3.0)
    assert here.run("20").seconds == pytest.approx(23.0)
    assert here.run("best").seconds == pytest.approx(8.0)
    assert model.asked == 1
    assert [(c.steps, c.seconds) for c in optimiser.refined] == [(FAST.steps, None), (None, 20.0), (BEST.steps, None)]


def test_from_scratch_takes_as_long_as_all_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    here, model = bench(seed=5)
    optimiser = Optimiser(monkeypatch)
    optimiser.slow(model, 3.0)
    here.run("fast")
    found = here.run("scratch=fast")
    assert found.seconds == pytest.approx(8.0)
    assert (found.steps, found.gaussians) == (9, scene_studio(8).scene.num_gaussians)
    assert here.run("scratch=2.5").seconds == pytest.approx(2.5)
    assert [(c.steps, c.seconds, c.seed) for c in optimiser.fitted] == [(None, pytest.approx(8.0), 5), (None, 2.5, 5)]
    assert model.asked == 1


def test_from_scratch_needs_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    here, model = bench()
    Optimiser(monkeypatch)
    here.run("scratch=1")
    assert model.asked == 0
    with pytest.raises(InputError, match="scratch=best takes as long as best; list best before"):
        here.run("scratch=best")


def test_the_seed_reaches_the_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    here, _ = bench(seed=11)
    optimiser = Optimiser(monkeypatch)
    here.run("fast")
    assert [c.seed for c in optimiser.refined] == [11]


def test_off_is_no_method() -> None:
    with pytest.raises(InputError, match="'off' is called feed-forward here"):
        bench()[0].run("off")


def test_images_are_of_the_whole_scene() -> None:
    """Faint Gaussians are rendered, too: a perfect model is perfect."""
    found = bench()[0].run("feed-forward")
    assert not found.images.requires_grad
    assert mean_psnr(found.images, split().targets.on_white()) > 90


def test_a_real_optimisation_from_random_points() -> None:
    here, _ = bench()
    found = here.run("scratch=0.3")
    wanted = split().targets.on_white()
    assert found.gaussians > 0
    assert mean_psnr(found.images, wanted) > mean_psnr(here.run("white").images, wanted) + 2  # 18.9 and, after a few steps, 23.9 dB
