"""The axis glossary, and the check that every tensor passes at the package's doors.

Axes, the same everywhere in annotations, comments and messages:

==  ==========================================================================
B   batch: scenes or training samples
T   time: frames of a sequence
V   view: cameras
N   Gaussians
F   frame: one (view, time) pair, a picture with its camera and its moment
H   height in pixels
W   width in pixels
==  ==========================================================================

A literal number in a shape means exactly that size. Images are channel-last in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor


class InputError(ValueError):
    """What the user gave is wrong. The message is one line: what, expected, got, remedy."""


class UnavailableError(RuntimeError):
    """Something that this machine or installation lacks. The message is one line and names the remedy."""


def check_shape(name: str, tensor: Tensor, shape: str, sizes: dict[str, int] | None = None, remedy: str = "") -> dict[str, int]:
    """Check ``tensor`` against a shape such as ``"N 3"`` and bind its named axes.

    Args:
        name: the argument's name, for the message.
        tensor: what was given.
        shape: axes separated by spaces; names are bound, numbers must match. A leading ``...`` allows any batch axes.
        sizes: axes bound by earlier checks; they must agree, and new ones are added.
        remedy: what to do about it, appended to the message.

    Returns:
        ``sizes`` with the axes of this tensor added.

    Raises:
        InputError: naming the tensor, the expected and the found shape.
    """
    sizes = {} if sizes is None else sizes
    axes = shape.split()
    free = axes[:1] == ["..."]
    axes = axes[1:] if free else axes
    found = list(tensor.shape)
    tail = found[len(found) - len(axes) :] if free else found
    bound = dict(sizes)
    fits = len(tail) == len(axes) and all(
        size == (int(axis) if axis.isdigit() else bound.setdefault(axis, size)) for axis, size in zip(axes, tail, strict=True)
    )
    if not fits:
        expected = "[" + ", ".join((["..."] if free else []) + [f"{a}={sizes[a]}" if a in sizes else a for a in axes]) + "]"
        raise InputError(f"{name}: expected shape {expected}, got {found}" + (f"; {remedy}" if remedy else ""))
    sizes.update({axis: size for axis, size in zip(axes, tail, strict=True) if not axis.isdigit()})
    return sizes


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinities, naming the tensor and counting them.

    Raises:
        InputError: if any element is not finite.
    """
    if tensor.numel() and not torch.isfinite(tensor.detach().sum()):  # one cheap pass; the count only when it fails
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise InputError(f"{name}: {bad} of {tensor.numel()} values are NaN or infinite")
