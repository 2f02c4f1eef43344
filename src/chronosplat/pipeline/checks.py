"""Views as a reconstruction takes them, and what the user should know of them."""

from __future__ import annotations

from dataclasses import replace

import torch

from chronosplat.captures import Limits, Views, fitted_size, load_capture, spread_views
from chronosplat.captures.video import SINGLE_VIEW
from chronosplat.events import Events, Notice, info, warning
from chronosplat.models import InputSpec
from chronosplat.pipeline.config import ReconstructConfig, quality_of
from chronosplat.refine import camera_numbers, disagreeing_cameras, one_direction
from chronosplat.shapes import InputError

OUTLIER, MIN_VIEWS = 6.0, 8  # dB below the median from which on a view disagrees; of fewer views none is an outlier
SOLID = 128  # alpha, of 255, from which on a pixel shows the object
LOST = 0.03  # fraction of the border's pixels that show the object, from which on it leaves the image


def load_views(config: ReconstructConfig) -> Views:
    """Every view of the capture, reduced to the quality's size unless the user chose another, and checked."""
    limits = Limits(size=quality_of(config).size)
    return check_views(load_capture(config.input, config.split, config.size, config.video.max_frames, config.video, limits))


def check_views(views: Views) -> Views:
    """The views that show an object, with warnings of cameras that disagree, and, last, of images that all come from one viewpoint.

    Raises:
        InputError: no view shows an object.
    """
    views = check_silhouettes(views)
    centers = views.cameras.centers
    single = float((centers - centers[0]).norm(dim=-1).max()) < 1e-6 or one_direction(views.cameras)
    notices = [notice for notice in views.notices if notice.code != SINGLE_VIEW.code] + disagreeing_cameras(views)
    return replace(views, notices=(*notices, SINGLE_VIEW) if single else tuple(notices))


def network_views(views: Views, spec: InputSpec, events: Events) -> Views:
    """The views that a network takes: no more and no larger than its specification says, with notices."""
    if spec.max_views is not None and len(views) > spec.max_views:
        events.notice(info("thinned", f"the prediction takes {spec.max_views} of {len(views)} views"))
        views = views[spread_views(views.cameras, views.times, spec.max_views)]
    old = views.cameras.width, views.cameras.height
    if spec.size is not None and max(old) > spec.size:
        new = fitted_size(*old, spec.size)
        events.notice(info("reduced", f"the prediction takes images of {new[0]}x{new[1]}, reduced from {old[0]}x{old[1]}"))
        views = views.resized(*new)
    return views


def check_silhouettes(views: Views) -> Views:
    """Leave out views that show no object, with a warning; warn of an object that leaves the image.

    Raises:
        InputError: no view shows an object.
    """
    solid = torch.stack([image >= SOLID for image in views.rgba8()[..., 3]])
    if bool(solid.all()):  # no masks
        return views
    seen = solid.flatten(1).any(1)
    notices = list(views.notices)
    if not bool(seen.any()):
        raise InputError("views: no view shows an object; check the masks")
    if not bool(seen.all()):
        empty = int((~seen).sum())
        first = float(views.times[~seen].min())
        notices.append(warning("empty-views", f"{empty} of {len(views)} views show no object and are left out, the first at {first:g} s"))
    border = torch.cat([solid[:, 0], solid[:, -1], solid[:, :, 0], solid[:, :, -1]], 1).float().mean(1)
    cut = int((border > LOST).sum())
    if cut:
        text = f"the object reaches the image's border in {cut} of {len(views)} views; what lies beyond is missing"
        notices.append(warning("leaves-image", text))
    return replace(views[seen.nonzero()[:, 0]], notices=tuple(notices))


def disagreeing_views(psnrs: list[float], views: Views) -> list[Notice]:
    """Warn of views that the scene explains far worse than the others of their timestamp.

    A view that is alone at its timestamp is explained well even with a wrong pose (docs/results.md, "Wrong cameras").
    """
    median = sorted(psnrs)[len(psnrs) // 2]
    bad = [i for i, value in enumerate(psnrs) if value < min(median, _median_at(psnrs, views, i)) - OUTLIER]
    if not bad or len(psnrs) < MIN_VIEWS:
        return []
    worst = min(bad, key=lambda i: psnrs[i])
    of = {int(number) for number in camera_numbers(views.cameras, views.times)[bad]}
    which = f", all of camera {min(of)}," if len(bad) > 1 and len(of) == 1 else ""
    text = (
        f"{len(bad)} of {len(psnrs)} views{which} disagree with the others; "
        f"worst: view {worst} at {float(views.times[worst]):g} s ({psnrs[worst]:.1f} dB, median {median:.1f} dB); "
        f"check {'its' if len(of) == 1 else 'their'} pose and timestamp"
    )
    return [warning("views-disagree", text)]


def _median_at(psnrs: list[float], views: Views, index: int) -> float:
    """The median over a view's timestamp, which may be a hard one; minus infinite where it has fewer than three views."""
    there = sorted(psnrs[i] for i in (views.times == views.times[index]).nonzero()[:, 0].tolist())
    return there[len(there) // 2] if len(there) >= 3 else -float("inf")
