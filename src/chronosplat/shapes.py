"""The axis glossary, the errors, and the checks that tensors pass at the package's boundaries.

Axes, the same everywhere in annotations, comments and messages:

==  ==========================================================================
B   batch: scenes or training samples
T   time: frames of a sequence
V   view: cameras
N   Gaussians
F   frame: one (view, time) pair: an image with its camera and timestamp
H   height in pixels
W   width in pixels
==  ==========================================================================

A literal number in a shape means exactly that size. Images are channel-last in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Spell = Callable[[str, Any], str]  # an argument's name and value -> how a user writes it


def as_argument(name: str, value: Any) -> str:
    """``name=value``; the name alone where the value is ``...``."""
    return name if value is ... else f"{name}={value}"


def with_remedy(problem: str, remedy: str, arguments: Mapping[str, Any], spell: Spell) -> str:
    """One line: the problem, then the remedy with the arguments in its braces as ``spell`` writes them."""
    if not remedy:
        return problem
    return f"{problem}; {remedy.format(**{name: spell(name, value) for name, value in arguments.items()})}"


class MessageError(Exception):
    """An error whose message is one line: what, the problem, and the remedy.

    Args:
        problem: ``what: problem``.
        remedy: what to do, with arguments in braces: ``"{chunk} fits"`` with ``chunk=8`` reads ``chunk=8 fits`` in a
            program and ``--chunk 8 fits`` on the command line.
        arguments: values of the remedy's arguments; ``...`` names the argument alone.
    """

    def __init__(self, problem: str, remedy: str = "", **arguments: Any) -> None:
        self.problem, self.remedy, self.arguments = problem, remedy, arguments
        super().__init__(self.spelled(as_argument))

    def spelled(self, spell: Spell) -> str:
        """The message with its arguments as ``spell`` writes them."""
        return with_remedy(self.problem, self.remedy, self.arguments, spell)


class InputError(MessageError, ValueError):
    """The input is wrong."""


class UnavailableError(MessageError, RuntimeError):
    """This machine or installation lacks something."""


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


def ordinary(tensor: Tensor) -> Tensor:
    """A tensor that autograd can save: one made under ``torch.inference_mode`` is copied, any other is returned as it is."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()
