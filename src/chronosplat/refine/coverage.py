"""From how many directions each timestamp is seen, which decides what the views can determine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chronosplat.cameras import Cameras

APART = 20.0  # degrees between viewing directions that count as two
SAME_SIZE = 1.25  # largest ratio of an object's areas in a video for which it stays in place
REACH = 2.5  # mean spacings between views in time that count as one timestamp


def timestamp_spacing(times: Tensor) -> float:
    """Mean distance in time between views [F]; 0 if all share one timestamp."""
    return float(times.max() - times.min()) / max(len(times) - 1, 1)


def sides_seen(cameras: Cameras, times: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct timestamps [M], and the number of directions from which each is seen [M].

    Views within REACH mean spacings of a timestamp count for it; directions within APART degrees count as one.
    """
    stamps = torch.unique(times.double())
    reach = REACH * timestamp_spacing(times) + 1e-9
    forwards = torch.nn.functional.normalize(cameras.forwards.double().cpu(), dim=-1)
    counts = []
    for stamp in stamps:
        counts.append(len(directions_apart(forwards[((times.double() - stamp).abs() <= reach).nonzero()[:, 0].cpu()])))
    return stamps, torch.tensor(counts)


def directions_apart(forwards: Tensor) -> list[int]:
    """Indices of the unit directions [V, 3] that are apart from all before them."""
    chosen: list[int] = []
    for index, direction in enumerate(forwards):
        if all(float(direction @ forwards[other]) < math.cos(math.radians(APART)) for other in chosen):
            chosen.append(index)
    return chosen


def directions_seen(cameras: Cameras, times: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct timestamps [M], and the number of directions from which views see exactly each of them [M]."""
    stamps = torch.unique(times.double())
    forwards = torch.nn.functional.normalize(cameras.forwards.double().cpu(), dim=-1)
    counts = [len(directions_apart(forwards[(times.double() == stamp).cpu()])) for stamp in stamps]
    return stamps, torch.tensor(counts)


def well_seen(cameras: Cameras, times: Tensor) -> bool:
    """Whether at least half of the timestamps are seen from two directions or more."""
    return float(sides_seen(cameras, times)[1].double().median()) >= 2


def one_direction(cameras: Cameras) -> bool:
    """Whether all cameras look the same way, within APART degrees of the first, so that the other sides are unseen."""
    forwards = torch.nn.functional.normalize(cameras.forwards.double(), dim=-1)
    return float((forwards @ forwards[0]).min()) >= math.cos(math.radians(APART))


def camera_numbers(cameras: Cameras, times: Tensor) -> Tensor:
    """The number of each view's camera [F], in order of first appearance: views of the same pose and intrinsics are one camera's.

    Where several views share a timestamp, too, they are of different cameras, one of which has a wrong pose.
    """
    poses = torch.cat([cameras.viewmats.flatten(1).cpu(), cameras.Ks.flatten(1).to(cameras.viewmats).cpu()], 1)
    _, which = torch.unique(poses, dim=0, return_inverse=True)
    order: dict[tuple[int, int], int] = {}
    there: dict[tuple[int, float], int] = {}
    numbers = []
    for pose, time in zip(which.tolist(), times.tolist(), strict=True):
        again = there[pose, time] = there.get((pose, time), -1) + 1
        numbers.append(order.setdefault((pose, again), len(order)))
    return torch.tensor(numbers)


def keeps_its_size(cameras: Cameras, pixels: Tensor) -> bool:
    """Whether the object covers about the same area in all images [F, H, W, 4] uint8 of every camera that takes at least three.

    Then it stays in place, and views of other sides at other timestamps still hold.
    """
    areas = torch.stack([image.sum(dtype=torch.float64) for image in pixels[..., 3]]).cpu()
    _, which = torch.unique(cameras.viewmats.cpu(), dim=0, return_inverse=True)
    videos = [areas[which == camera] for camera in range(int(which.max()) + 1)]
    videos = [video for video in videos if len(video) >= 3]
    return bool(videos) and all(float(video.max()) <= SAME_SIZE * float(video.min()) for video in videos)


def hold_out(cameras: Cameras, times: Tensor, share: float) -> list[int]:
    """Views to hold out: about ``share`` of them, spread over time and directions.

    Of each direction at least one view stays, unless there is only one.
    """
    count = round(share * len(times))
    if len(times) < 4 or share <= 0:
        return []
    count = min(max(count, 2), len(times) // 2)
    forwards = torch.nn.functional.normalize(cameras.forwards.double().cpu(), dim=-1)
    order = times.double().cpu().argsort(stable=True)
    apart = 1 - forwards @ forwards.T
    alike = apart < 1 - math.cos(math.radians(APART))
    chosen = [int(order[len(order) // (2 * count)])]
    span = max(float(times.max() - times.min()), 1e-9)
    stamp = (times.double().cpu()[:, None] - times.double().cpu()[None]).abs() / span
    while len(chosen) < count:  # farthest first, in direction and time
        distance = (apart.clamp_max(0.5) + stamp)[:, chosen].min(1).values
        others = alike.clone()
        others[:, chosen] = False
        distance[(alike.sum(1) > 1) & ((others.sum(1) - others.diagonal().long()) < 1)] = -1  # the last one of its direction
        distance[chosen] = -1
        if float(distance.max()) < 0:
            break
        chosen.append(int(distance.argmax()))
    return sorted(chosen)
