"""One body from a sequence: its renderings from all around are the views that a deformable scene is optimised against.

A sequence has Gaussians of its own in every frame, and errors that change from frame to frame (flicker). One body that moves
smoothly averages them, is far smaller, and knows where each point of its surface goes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from chronosplat.cameras import RADIUS, Cameras, Similarity, orbit
from chronosplat.captures import Views
from chronosplat.captures.views import as_bytes, evenly
from chronosplat.events import Events, info, warning
from chronosplat.metrics import mean_psnr
from chronosplat.refine.body import BodyStart
from chronosplat.refine.config import FAST, RefineConfig
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.search import compete, rounded
from chronosplat.refine.start import count_for
from chronosplat.refine.strategies.deform import DEFORM, deform_starts
from chronosplat.refine.strategy import Problem, Refined
from chronosplat.refine.training_views import training_views
from chronosplat.render import render
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError, check_finite

AZIMUTHS, ELEVATIONS = 8, (-10.0, 30.0)  # the second ring is turned by half a step
MAX_FRAMES = 48  # evenly spaced; 768 views of 192 x 192 take 113 MB
SIZE = 192  # pixels: finer than L4GM's Gaussians, of which each view of 128 x 128 pixels gives one a pixel
OPAQUE = 0.1  # opacity from which a Gaussian belongs to the object
FILLED = 0.55  # radius of the object where the cameras' distance is 1.5: their images hold a sphere of 0.62
PROBES = 2000  # Gaussians of a frame that show the object's extent
SHARE = 0.5  # of the views in a step, given ones where there are; docs/results.md, "From a sequence to a body"
FEWEST_FRAMES = 6  # of a sequence from which auto makes a body
COMPARED = 24  # given views, and frames, on which body and sequence are compared
FOLLOWED = 0.75  # overlap of silhouettes below which parts of a body stay behind; docs/results.md, "From a sequence to a body"


def body_of_sequence(scene: Scene, views: Views, config: RefineConfig, events: Events, device: str | None = None) -> Refined | None:
    """Make one body of a sequence and its input views, if the strategy is ``deform``, or ``auto`` finds it no worse.

    With ``auto`` a body has to match the input views at least as well as the sequence does.

    Args:
        views: in the scene's world and seconds. device: see :func:`body_from_sequence`.

    Returns:
        The body, or the sequence where a cancellation left nothing better; None where ``auto`` leaves the sequence to the strategy
        ``frames``, with a notice.

    Raises:
        InputError: ``deform`` is requested of a sequence without frames, or of one that shows nothing.
    """
    masked = bool((views.rgba8()[..., 3] < 128).any())
    requested = config.strategy == "deform"
    if not requested and (reason := _unsuitable(scene, masked)):
        events.notice(info("no-body", f"no body is made of the sequence: {reason}"))
        return None
    events.notice(info("strategy", f"refinement strategy deform: {'requested' if requested else 'a body has no flicker'}"))
    if not masked:
        events.notice(warning("no-mask", "the views have no masks: the body is fitted to the sequence alone"))
    try:
        done = body_from_sequence(scene, config, events, views if masked else None, device=device)
    except InputError as error:
        if requested:
            raise
        events.notice(warning("no-body", f"no body can be made of the sequence ({error}); it is refined frame by frame"))
        return None
    if done.facts["kept"]:
        if requested or events.cancel.requested:
            return done
        text = "the budget is too short for a body; the sequence is refined frame by frame"
        events.notice(info("sequence-kept", text, "give {refine} more", refine=...))
        return None
    before, after = (psnr_on_views(some, views, device) for some in (scene, done.scene))
    done.facts.update(psnr_views_before=rounded(before), psnr_views=rounded(after))
    told = f"input views: sequence {before:.2f} dB, body {after:.2f} dB"
    overlap = done.facts["overlap"]
    told += f"; silhouettes overlap by {overlap:.2f} at {done.facts['overlap_at']:g} s, where the body follows worst"
    worse = after < before or overlap < FOLLOWED
    if worse and not requested and not done.facts["stopped"]:
        text = f"{told}; the sequence is refined frame by frame"
        events.notice(info("sequence-kept", text, "{strategy} makes a body", strategy="deform"))
        return None
    level = warning if worse else info
    done.notices.append(level("body-views", told))
    return done


def worst_overlap(body: Scene, rendered: Views, device: str | None = None) -> tuple[float, float]:
    """How well a body follows a sequence: the silhouettes' intersection over union at the worst of COMPARED frames, and its second.

    Args:
        rendered: the sequence from AZIMUTHS * len(ELEVATIONS) cameras, frame by frame.
    """
    count = AZIMUTHS * len(ELEVATIONS)
    found: list[tuple[float, float]] = []
    for frame in evenly(len(rendered) // count, COMPARED):
        views = rendered[list(range(frame * count, (frame + 1) * count, 3))]
        with torch.no_grad():
            seen = render(body, views.cameras, views.times, cull=False, device=device).alpha.cpu() > 0.5
        wanted = views.alphas.cpu() > 0.5
        found.append((float((seen & wanted).sum()) / max(1, int((seen | wanted).sum())), float(views.times[0])))
    return min(found)


def psnr_on_views(scene: Scene, views: Views, device: str | None = None) -> float:
    """Mean PSNR in dB on COMPARED of the views, evenly spaced."""
    found, chosen = 0.0, evenly(len(views), COMPARED)
    for index in chosen:
        view = views[[index]]
        with torch.no_grad():
            rgb = render(scene, view.cameras, view.times, cull=False, device=device).rgb
        found += mean_psnr(rgb.cpu(), view.on_white().cpu())
    return found / len(chosen)


def body_from_sequence(
    scene: Scene,
    config: RefineConfig = FAST,
    events: Events | None = None,
    views: Views | None = None,
    size: int = SIZE,
    device: str | None = None,
) -> Refined:
    """Make one deformable body of a sequence: no flicker, one set of Gaussians, tracks.

    Args:
        scene: a GaussianSequence, stored or in memory; any other scene works, too.
        config: budget and settings; the strategy is ``deform``.
        views: images of the object in the scene's world and seconds, with masks; half of each step sees them.
        size: of the renderings in pixels; with views, theirs is used.
        device: where to optimise; None: the scene's device.

    Returns:
        DeformableGaussians in the capture's world and seconds; static for a single frame. The scene itself where the budget is
        too short. Ctrl-C keeps the best so far.

    Raises:
        InputError: no frames, nothing opaque, or values that are not finite.
    """
    began, events, target = time.perf_counter(), events or Events(), str(scene.device) if device is None else device
    width, height = (size, size) if views is None else (views.cameras.width, views.cameras.height)
    rendered = sequence_views(scene, width, height, events, target)
    config = replace(config, strategy="deform", front_facing=config.deform)  # every side of most timestamps is rendered
    if config.seconds is not None:
        config = replace(config, seconds=max(config.seconds - (time.perf_counter() - began), config.seconds / 2))
    every = rendered if views is None else joined(rendered, views)
    points = random_in_hull(rendered, count_for(rendered.rgba8()), config.seed).to(target)
    problem = Problem(points, every, training_views(points, every), config, events)
    repeats = repeats_of(len(rendered), len(every) - len(rendered))
    strategy = replace(
        DEFORM, starts=lambda p: [replace(start, repeats=repeats) for start in deform_starts(p) if isinstance(start, BodyStart)]
    )
    with events.cancel.watched():
        done = compete(problem, [strategy])
    frames = len(torch.unique(rendered.times))
    facts = done.facts | {"frames": frames, "views": len(every), "gaussians_before": scene.num_gaussians}
    if done.facts["kept"]:
        return Refined(scene, facts | {"gaussians": scene.num_gaussians}, done.notices)
    overlap, seconds = worst_overlap(done.scene, rendered, target)
    facts |= {"overlap": round(overlap, 3), "overlap_at": round(seconds, 4)}
    told = f"{frames} frames of {scene.num_gaussians} Gaussians became one body of {done.scene.num_gaussians}"
    return replace(done, facts=facts, notices=[*rendered.notices, *done.notices, info("body", told)])


def sequence_views(scene: Scene, width: int, height: int, events: Events, device: str) -> Views:
    """Render up to MAX_FRAMES frames of a scene from two rings of cameras around it, as bytes with masks.

    Frames that show nothing are left out, with a notice.

    Returns:
        Views in the capture's world and seconds, frame by frame.

    Raises:
        InputError: no frames, nothing opaque, or values that are not finite.
    """
    if scene.num_frames == 0 or scene.num_gaussians == 0:
        raise InputError(f"scene: expected frames with Gaussians, got {scene.num_frames} frames of {scene.num_gaussians}")
    stamps = scene.timestamps(MAX_FRAMES) or [0.0]
    stamps = [stamps[i] for i in evenly(len(stamps), MAX_FRAMES)]
    cameras = cameras_around(scene.world.after(_studio(scene, stamps)), width, height)
    pixels = torch.empty(len(stamps) * len(cameras), height, width, 4, dtype=torch.uint8)
    kept: list[float] = []
    for index, seconds in enumerate(stamps):
        with torch.no_grad():
            seen = render(scene, cameras, [seconds] * len(cameras), background="black", cull=False, device=device)
        if float(seen.alpha.max()) > 0.5:
            first = len(kept) * len(cameras)
            straight = seen.rgb / seen.alpha.clamp_min(1e-4)
            pixels[first : first + len(cameras)] = as_bytes(torch.cat([straight, seen.alpha], -1)).cpu()
            kept.append(seconds)
        events.progress("rendering", index + 1, len(stamps))
    if not kept:
        raise InputError(f"scene: none of its {len(stamps)} frames shows anything opaque; there is no body to fit")
    notices = ()
    if len(kept) < len(stamps):
        notices = (warning("empty-frames", f"{len(stamps) - len(kept)} of {len(stamps)} frames show nothing and are left out"),)
    times = torch.tensor(kept, dtype=torch.float64).repeat_interleave(len(cameras))
    up = scene.world.directions(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    every = Cameras.cat([cameras] * len(kept))
    return Views(pixels=pixels[: len(every)], cameras=every, times=times, up=up, notices=notices)


def cameras_around(studio: Similarity, width: int, height: int) -> Cameras:
    """Two rings of cameras in the capture's world.

    Args:
        studio: from a world where the object is a sphere of radius FILLED at the origin to the capture's.
    """
    step = 360 / AZIMUTHS
    angles = [(step * (i + ring / 2), elevation) for ring, elevation in enumerate(ELEVATIONS) for i in range(AZIMUTHS)]
    cameras = orbit([a for a, _ in angles], [e for _, e in angles], min(width, height), RADIUS)
    Ks = cameras.Ks.clone()
    Ks[:, :2, 2] = torch.tensor([width / 2, height / 2])
    return Cameras(cameras.viewmats.double(), Ks.double(), width, height).transformed(studio)


def joined(rendered: Views, given: Views) -> Views:
    """Renderings, then given views of the same size."""
    cameras = Cameras.cat([rendered.cameras, given.cameras.to(dtype=rendered.cameras.viewmats.dtype)])
    pixels, times = torch.cat([rendered.rgba8(), given.rgba8().cpu()]), torch.cat([rendered.times, given.times.double()])
    return Views(pixels=pixels, cameras=cameras, times=times, up=rendered.up)


def repeats_of(rendered: int, given: int) -> tuple[int, ...]:
    """How often each view takes its turn: given ones so often that they are SHARE of all."""
    often = round(SHARE / (1 - SHARE) * rendered / given) if given else 1
    return (1,) * rendered + (max(1, often),) * given


def _unsuitable(scene: Scene, masked: bool) -> str:
    """Why ``auto`` makes no body of a sequence; "" if it does."""
    if (scene.num_frames or 0) < FEWEST_FRAMES:
        return f"fewer than {FEWEST_FRAMES} frames"
    return "" if masked else "the views have no masks"


def _studio(scene: Scene, stamps: list[float]) -> Similarity:
    """The map to the scene's own world from one in which the object is centred and of radius FILLED."""
    points, reach = (torch.cat(parts).double() for parts in zip(*_extents(scene, stamps), strict=True))
    if len(points) == 0:
        raise InputError(f"scene: no Gaussian of its {len(stamps)} frames has an opacity above {OPAQUE}; there is no body to fit")
    low, high = torch.quantile(points, 0.005, 0), torch.quantile(points, 0.995, 0)
    center = (low + high) / 2
    radius = float(torch.quantile((points - center).norm(dim=-1) + reach, 0.99))
    return Similarity(max(radius, 1e-9) / FILLED, translation=center)


def _extents(scene: Scene, stamps: list[float]) -> Iterator[tuple[Tensor, Tensor]]:
    """Means [P, 3] and two standard deviations [P] of some opaque Gaussians of each frame."""
    for seconds in stamps:
        fields = {name: t[0].detach().cpu() for name, t in scene.evaluate(torch.tensor([seconds], dtype=torch.float64)).items()}
        for name, values in fields.items():
            check_finite(f"{name} at {seconds:g} s", values)
        some = (fields["opacities"] > OPAQUE).nonzero()[:, 0]
        some = some[:: max(1, len(some) // PROBES)]
        yield fields["means"][some], 2 * fields["scales"][some].amax(-1)
