"""From how many sides each moment is seen: what the pictures can decide, and what only the prediction knows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chronosplat.cameras import Cameras

APART = 20.0  # degrees between viewing directions that count as two
SAME_SIZE = 1.25  # largest ratio of an object's areas in a film for which it stays where it is
REACH = 2.5  # mean distances between pictures in time that count as the same moment


def picture_spacing(times: Tensor) -> float:
    """Mean distance in time between pictures [F]; 0 if all show one moment."""
    return float(times.max() - times.min()) / max(len(times) - 1, 1)


def sides_seen(cameras: Cameras, times: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct moments [M] of the pictures, and the number of directions from which each is seen [M].

    Pictures within REACH mean distances of a moment count for it; directions within APART degrees are one.
    """
    moments = torch.unique(times.double())
    reach = REACH * picture_spacing(times) + 1e-9
    forwards = torch.nn.functional.normalize(cameras.forwards.double().cpu(), dim=-1)
    counts = []
    for moment in moments:
        counts.append(len(directions_apart(forwards[((times.double() - moment).abs() <= reach).nonzero()[:, 0].cpu()])))
    return moments, torch.tensor(counts)


def directions_apart(forwards: Tensor) -> list[int]:
    """Which of the unit directions [V, 3] are apart from all before them."""
    chosen: list[int] = []
    for index, direction in enumerate(forwards):
        if all(float(direction @ forwards[other]) < math.cos(math.radians(APART)) for other in chosen):
            chosen.append(index)
    return chosen


def moment_seen_most(cameras: Cameras, times: Tensor) -> tuple[float, int]:
    """The moment that is seen from the most sides at once, the first of several, and the number of its sides."""
    moments = torch.unique(times.double())
    forwards = torch.nn.functional.normalize(cameras.forwards.double().cpu(), dim=-1)
    counts = [len(directions_apart(forwards[(times.double() == moment).cpu()])) for moment in moments]
    best = counts.index(max(counts))
    return float(moments[best]), counts[best]


def well_seen(cameras: Cameras, times: Tensor) -> bool:
    """Whether at least half of the moments are seen from two sides or more."""
    return float(sides_seen(cameras, times)[1].double().median()) >= 2


def keeps_its_size(cameras: Cameras, alphas: Tensor) -> bool:
    """Whether the object covers about the same area in all pictures [F, H, W, 1] of a camera that takes at least three.

    Then it stays where it is, and what other sides showed at other moments still holds.
    """
    areas = alphas.double().sum((1, 2, 3)).cpu()
    _, which = torch.unique(cameras.viewmats.cpu(), dim=0, return_inverse=True)
    films = [areas[which == camera] for camera in range(int(which.max()) + 1)]
    films = [film for film in films if len(film) >= 3]
    return bool(films) and all(float(film.max()) <= SAME_SIZE * float(film.min()) for film in films)


def hold_back(cameras: Cameras, times: Tensor, share: float) -> list[int]:
    """Pictures to hold back: about ``share`` of them, at even moments, from as different directions as there are.

    Of each direction at least one picture stays, unless there is only one.
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
    moment = (times.double().cpu()[:, None] - times.double().cpu()[None]).abs() / span
    while len(chosen) < count:  # farthest first, in direction and time
        distance = (apart.clamp_max(0.5) + moment)[:, chosen].min(1).values
        others = alike.clone()
        others[:, chosen] = False
        distance[(alike.sum(1) > 1) & ((others.sum(1) - others.diagonal().long()) < 1)] = -1  # the last one of its direction
        distance[chosen] = -1
        if float(distance.max()) < 0:
            break
        chosen.append(int(distance.argmax()))
    return sorted(chosen)
