"""Files of every format and their mutations, for the tests of readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.export import export, load_scene
from chronosplat.scenes import Gaussians3D, Gaussians4D, Scene
from chronosplat.shapes import InputError

STATIC_SUFFIXES = (".ply", ".splat", ".splatv", ".spz", ".compressed.ply", ".sog")


def written(scene: Scene, path: Path, **options: Any) -> bytes:
    """The bytes of an exported file."""
    return export(scene, path, **options).read_bytes()


def own(scene: Scene) -> Any:
    """A scene in its own world."""
    return scene.with_world(Similarity())


def matched(found: Gaussians3D | Gaussians4D, expected: Gaussians3D | Gaussians4D) -> Any:
    """``found`` in the order of ``expected``: formats may reorder Gaussians. The nearest position must be a permutation."""
    order = (found.means.double()[None] - expected.means.double()[:, None]).norm(dim=-1).argmin(1)
    assert sorted(order.tolist()) == list(range(expected.num_gaussians))
    return found.map(lambda x: x[order])


def relative(found: Tensor, expected: Tensor) -> float:
    """The greatest error of covariances, relative to each one's norm."""
    return float(((found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)).max())


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """A file with a few bytes changed, a part cut out, doubled or filled, or the end missing."""
    mutable = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        if not mutable:
            break
        at = draw(st.integers(0, len(mutable) - 1) | st.integers(0, min(len(mutable) - 1, 300)))
        length = draw(st.integers(1, 16))
        how = draw(st.sampled_from(["change", "cut", "end", "double", "fill"]))
        if how == "change":
            mutable[at : at + length] = draw(st.binary(min_size=1, max_size=length))
        elif how == "cut":
            del mutable[at : at + length]
        elif how == "end":
            del mutable[at:]
        elif how == "double":
            mutable[at:at] = mutable[at : at + length]
        else:
            mutable[at : at + length] = draw(st.sampled_from([b"\x00", b"\xff", b"\x7f"])) * length
    return bytes(mutable)


def refusal(path: Path) -> str:
    """Read a file that may be damaged: the message that refuses it, or nothing if it gives a scene of finite numbers."""
    try:
        scene = load_scene(path)
    except InputError as error:
        return str(error)
    assert all(bool(torch.isfinite(t).all()) for t in scene.tensors().values())
    return ""


def assert_read_or_refused(path: Path) -> None:
    """Any other exception than InputError, or a message that is not one line about the file, fails."""
    message = refusal(path)
    assert not message or (message.startswith(f"{path}: ") and "\n" not in message)
