"""The door: a scene and the views that it came from in, a better scene out; or views alone in, and a scene from random points.

Where the pictures say much (most moments are seen from several sides), the cloud is started anew from the prediction and
optimised freely; where they say little, its geometry moves in small steps only. Either way views are held back first to find
when to stop; if nothing is gained on them the prediction is returned as it was.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from chronosplat.captures import Views
from chronosplat.gaussians import Gaussians3D, Gaussians4D, GaussianSequence, Scene
from chronosplat.refine.account import Progressed, Refined, check_fit, notices
from chronosplat.refine.config import BEST, FAST, GENTLE_GAIN, RANDOM, RefineConfig, refinement
from chronosplat.refine.coverage import hold_back, moment_seen_most, picture_spacing, well_seen
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.optimise import Budget, optimise
from chronosplat.refine.parameters import Fields, fields_of, with_fields
from chronosplat.refine.pictures import Pictures, pictures_for, psnr_on
from chronosplat.refine.sequence import refine_sequence
from chronosplat.refine.start import count_for, thinned_and_widened
from chronosplat.refine.track import can_follow, followed
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")
MARKS = tuple(i / 8 for i in range(1, 9))  # shares of an optimisation at which it is looked at
GENTLE_MOST = 160  # steps; more of them fit the one side that is seen at the cost of all others
GENTLE_BLIND = 40  # steps, where no view is held back to say whether they help
FEWEST_FREE = 6  # pictures; what free steps make of fewer is right from their sides only
SHORTEST = 80  # steps of a free run that are always made: with views held back it overfits sooner than with all


@dataclass(frozen=True)
class Start:
    """Where an optimisation starts, and how large its steps are."""

    fields: Fields
    sizes: Mapping[str, float]
    freely: bool
    width: float | None = None
    origin: str = "prediction"


@dataclass
class Found:
    """What the runs with held-back views found: the best start, when to stop, and the state that was best."""

    psnr: float
    start: int = 0
    until: float = 0.0
    fields: Fields | None = None
    steps: int = 0
    broken: str = ""


def refine(
    scene: Scene,
    views: Views,
    how: str = "fast",
    steps: int | None = None,
    seconds: float | None = None,
    cameras: bool = False,
    exposure: bool = False,
    seed: int = 0,
) -> Scene:
    """Optimise a scene against its input views.

    Args:
        scene: any kind, on the device to work on. views: in the scene's world and seconds.
        how: fast, best, or a number of seconds as text; or give
        steps or seconds: the whole budget.
        cameras: correct the cameras' poses, too. exposure: correct each picture's gain and shift, too.
        seed: with steps, fast and best the result depends on nothing else.

    Returns:
        The refined scene; the scene itself where nothing is gained on held-back views.

    Raises:
        InputError: the scene and the views are of different worlds or times, or no time is given.
    """
    if steps is not None or seconds is not None:
        config = replace(BEST, steps=steps, seconds=seconds)
    else:
        config = refinement(how)
        if config is None:
            return scene
    done = refine_scene(scene, views, replace(config, cameras=cameras, exposure=exposure, seed=seed))
    for note in done.notes:
        log.warning(note)
    return done.scene


def refine_scene(scene: Scene, views: Views, config: RefineConfig = FAST, progressed: Progressed = lambda _share, _psnr: None) -> Refined:
    """As :func:`refine`, by a config, with an account of what was done.

    Args:
        scene: any kind, on the device to work on. views: in the scene's world and seconds.
        progressed: called now and then.

    Returns:
        The refined scene and what was done. Ctrl-C ends it early with the best found so far.

    Raises:
        InputError: the scene and the views are of different worlds or times.
    """
    if isinstance(scene, GaussianSequence):
        return refine_sequence(scene, views, config, progressed)
    began = time.perf_counter()
    check_fit(scene, views)
    pictures = pictures_for(scene, views)
    fields = fields_of(scene)
    if isinstance(scene, Gaussians4D) and can_follow(scene, views, pictures, config):
        return followed(scene, views, pictures, config, progressed)
    starts = starts_for(scene, views, pictures, config)
    free = starts[0].freely
    held = hold_back(views.cameras, views.times, config.held_back) if config.search > 0 else []
    before = psnr_on(fields, pictures, held, config.backend) if held else math.nan
    floor, most = (-math.inf, None) if free else (before + GENTLE_GAIN, GENTLE_MOST if held else GENTLE_BLIND)
    done = run(starts, pictures, held, floor, config, progressed, began, most)
    notes = notices(views, pictures)
    facts = {"mode": "free" if free else "gentle", "psnr_held_back_before": _rounded(before), **done.facts}
    if done.fields is not None and (done.broken or (free and not config.cameras and not config.exposure)):
        fits = [psnr_on(f, pictures, range(len(pictures)), config.backend) for f in (fields, done.fields)]
        if fits[1] < fits[0]:  # too short to get as far as the prediction
            done.fields = None
    if done.fields is None:
        why = f"stopped early ({done.broken}), nothing is gained" if done.broken else "gains nothing on held-back views"
        if not done.broken and free:
            why = "was too short to gain anything"
        notes.append(f"refinement {why}: the prediction is kept")
        return Refined(scene, facts | {"kept": True, "gaussians": len(scene)}, notes)
    if done.broken:
        notes.append(f"refinement stopped early ({done.broken}); the best state so far is kept")
    return Refined(with_fields(scene, done.fields), facts | {"kept": False, "gaussians": len(done.fields["means"])}, notes)


def starts_for(scene: Gaussians3D | Gaussians4D, views: Views, pictures: Pictures, config: RefineConfig) -> list[Start]:
    """Where to start from: free starts where the pictures say enough, else the prediction itself, by gentle steps."""
    gentle = [Start(fields_of(scene), config.gentle, False)]
    if not isinstance(scene, Gaussians4D) or len(views) < FEWEST_FREE or not well_seen(views.cameras, views.times):
        return gentle
    assert pictures.times is not None
    random_points: list[Start] = []
    if config.hull and config.search > 0 and pictures.masked:
        with suppress(InputError):  # silhouettes without a hull
            random_points = starts_from(random_in_hull(views, count_for(views.alphas), config.seed, like=scene), pictures, config.hull)
    anew = [thinned_and_widened(scene, pictures.alpha, pictures.times, width, config.seed) for width in config.widths]
    predicted = [Start(fields, config.free, True, width) for fields, width in zip(anew, config.widths, strict=True)]
    return predicted + random_points


def fit(views: Views, config: RefineConfig = FAST, progressed: Progressed = lambda _share, _psnr: None, device: str = "cpu") -> Refined:
    """Per-scene optimisation without a prediction: the same optimiser, from random points in the visual hull.

    The time sigma of the start is searched among the config's widths; steps are free, or the random points of the moment that is
    seen most are followed, where a prediction would be.

    Raises:
        InputError: the silhouettes have nothing in common.
    """
    began = time.perf_counter()
    cloud = random_in_hull(views, count_for(views.alphas), config.seed).to(device)
    pictures = pictures_for(cloud, views)
    if can_follow(cloud, views, pictures, config):
        done = followed(random_at_rest(views, cloud, config.seed), views, pictures, config, progressed)
        return replace(done, facts=done.facts | {"start": "random points"})
    starts = starts_from(cloud, pictures, config.widths)
    held = hold_back(views.cameras, views.times, config.held_back) if config.search > 0 else []
    done = run(starts, pictures, held, -math.inf, config, progressed, began)
    notes = notices(views, pictures)
    if done.broken:
        notes.append(f"refinement stopped early ({done.broken}); the best state so far is kept")
    found = starts[0].fields if done.fields is None else done.fields
    return Refined(with_fields(cloud, found), {"mode": "from random points", **done.facts}, notes)


def random_at_rest(views: Views, cloud: Gaussians4D, seed: int) -> Gaussians4D:
    """As many random points as a cloud has, in its world and time, at the moment that is seen from the most sides."""
    rest, _ = moment_seen_most(views.cameras, views.times)
    there = views[(views.times == rest).nonzero()[:, 0].tolist()]
    return replace(random_in_hull(there, len(cloud), seed, like=cloud), seconds=views.seconds).to(cloud.means.device)


def starts_from(cloud: Gaussians4D, pictures: Pictures, widths: Sequence[float]) -> list[Start]:
    """Starts from random points, with each of the widths as time sigmas."""
    assert pictures.times is not None
    fields = fields_of(cloud.to(pictures.rgb.device))
    spacing, one = picture_spacing(pictures.times), torch.ones_like(fields["opacities"])
    return [Start(fields | {"time_sigmas": one * max(width * spacing, 1e-3)}, RANDOM, True, width, "random points") for width in widths]


@dataclass
class Done:
    """The fields that an optimisation ended with (None: nothing was gained), and why it broke off, if it did."""

    fields: Fields | None
    broken: str
    facts: dict[str, Any]


def run(
    starts: list[Start],
    pictures: Pictures,
    held: list[int],
    floor: float,
    config: RefineConfig,
    progressed: Progressed,
    began: float,
    most: int | None = None,
) -> Done:
    """Find the best start and how long to run with views held back, then run with all of them.

    Args:
        floor: PSNR on the held-back views below which nothing counts as found.
        began: when the budget's seconds began to run. most: steps, whatever the budget.
    """

    def left() -> float | None:
        return None if config.seconds is None else max(config.seconds - (time.perf_counter() - began), 1e-3)

    budget = Budget(min((n for n in (config.steps, most) if n is not None), default=None), left())
    found = search(starts, pictures, held, floor, config, budget, progressed) if held else Found(math.nan, until=1.0)
    facts: dict[str, Any] = {"held_back": len(held), "psnr_held_back": _rounded(found.psnr) if found.fields else None, "seed": config.seed}
    fields, steps, broken = found.fields, found.steps, found.broken
    if found.until > 0 and not broken:
        start, first, until, rest = starts[found.start], 0.0, 1.0, budget
        if held:
            first, rest = config.search, budget.share(1 - config.search)
            rest = replace(rest, seconds=left())
            steps_left = max(found.steps, 1) * (1 - config.search) / config.search
            until = max(found.until, min(1.0, SHORTEST / steps_left)) if start.freely else found.until
        outcome = optimise(
            start.fields, pictures, range(len(pictures)), config, rest.share(until), start.sizes, start.freely, MARKS,
            lambda share, _: progressed(first + (1 - first) * share, found.psnr),
        )  # fmt: skip
        fields, steps, broken = outcome.fields, steps + outcome.steps, outcome.broken
        if broken and found.fields is not None:  # the search may have got further
            fields = max(found.fields, fields, key=lambda f: psnr_on(f, pictures, range(len(pictures)), config.backend))
        facts |= {"until": round(until, 3), "width": start.width, "start": start.origin, **outcome.corrections.facts()}
    return Done(fields, broken, facts | {"steps": steps, "seconds": round(time.perf_counter() - began, 3), "stopped": broken})


def search(
    starts: list[Start], pictures: Pictures, held: list[int], floor: float, config: RefineConfig, budget: Budget, progressed: Progressed
) -> Found:
    """Run from every start without the held-back pictures, and note where their PSNR was best."""
    train = [i for i in range(len(pictures)) if i not in set(held)]
    best = Found(floor)
    for index, start in enumerate(starts):

        def look(share: float, fields: Mapping[str, torch.Tensor], index: int = index) -> None:
            psnr = psnr_on(fields, pictures, held, config.backend)
            if psnr > best.psnr:
                best.psnr, best.start, best.until, best.fields = psnr, index, share, dict(fields)
            progressed(config.search * (index + share) / len(starts), psnr)

        part = budget.share(config.search / len(starts))
        outcome = optimise(start.fields, pictures, train, config, part, start.sizes, start.freely, marks=MARKS, look=look)
        best.steps += outcome.steps
        if outcome.broken:
            best.broken = outcome.broken
            break
    return best


def _rounded(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
