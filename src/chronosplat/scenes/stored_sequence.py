"""Sequences on disk, written and read frame by frame so that a long one never has to fit in memory.

The file is the same as :func:`save_scene` writes: safetensors (eight bytes of length, a JSON header, then the tensors).
All offsets are known in advance, so frames can be written in any order.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import torch
from safetensors import safe_open
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.memory import available_memory
from chronosplat.scenes.gaussians import GaussianSequence, nearest_frames
from chronosplat.scenes.scene import SPLAT_SHAPES, Gaussians3D, Scene, gaussians_at
from chronosplat.scenes.scene_file import read_metadata, read_notes, read_world, scene_metadata
from chronosplat.shapes import InputError, check_shape

WIDTHS = {name: (3 if shape.endswith("3") else 4 if shape.endswith("4") else 1) for name, shape in SPLAT_SHAPES.items()}
FLOAT = 4  # bytes
EDIT_COPIES = 3  # of a sequence in memory while it is edited


class SequenceWriter:
    """Writes a GaussianSequence of T frames and N Gaussians, in any order of frames.

    Frames that were never written read as zeros. An existing file with the same header and times is resumed, any other is
    replaced.

    Attributes:
        continued: whether an existing file was resumed.
    """

    def __init__(
        self, path: str | Path, times: Tensor, count: int, world: Similarity | None = None, notes: dict[str, str] | None = None
    ) -> None:
        """Args: times: [T] seconds, increasing. count: N.

        Raises:
            InputError: the disk has less free space than the whole file takes.
        """
        self.path, self.count, self.frames = Path(path), count, len(times)
        seconds = times.double().numpy().astype("<f8").tobytes()
        header, self._starts = _header(self.frames, count, (notes or {}) | scene_metadata(GaussianSequence, world or Similarity()))
        size = len(header) + len(seconds) + sum(FLOAT * width for width in WIDTHS.values()) * self.frames * count
        self.continued = self._can_resume(header, seconds, size)
        if not self.continued:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _check_space(self.path, size)
            with self.path.open("wb") as file:
                file.write(header + seconds)
                file.truncate(size)
        self._file = self.path.open("r+b")

    def _can_resume(self, header: bytes, seconds: bytes, size: int) -> bool:
        if not self.path.is_file() or self.path.stat().st_size != size:
            return False
        with self.path.open("rb") as file:
            return file.read(len(header) + len(seconds)) == header + seconds

    def write(self, first: int, fields: Mapping[str, Tensor]) -> None:
        """Write K consecutive frames.

        Args:
            first: index of the first frame.
            fields: means [K, N, 3], quats [K, N, 4], scales [K, N, 3], opacities [K, N], colors [K, N, 3].

        Raises:
            InputError: wrong shapes, or frames beyond the end of the sequence.
            OSError: the disk is full.
        """
        sizes: dict[str, int] = {"N": self.count}
        for name, shape in SPLAT_SHAPES.items():
            check_shape(name, fields[name], f"K {shape}", sizes)
        if first < 0 or first + sizes["K"] > self.frames:
            raise InputError(f"frames {first} to {first + sizes['K'] - 1} do not fit into a sequence of {self.frames}")
        for name, width in WIDTHS.items():
            self._file.seek(self._starts[name] + FLOAT * width * self.count * first)
            self._file.write(fields[name].detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes())

    def flush(self) -> None:
        """Write buffered frames through to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class StoredSequence:
    """A GaussianSequence on disk; frames are read when they are used.

    Attributes:
        times: [T] seconds. world: from these coordinates to the capture's world. notes: more metadata of the file.
    """

    kind: ClassVar[str] = GaussianSequence.kind  # same file format
    schema: ClassVar[int] = GaussianSequence.schema
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, path: str | Path, world: Similarity | None = None, notes: Mapping[str, str] | None = None) -> None:
        """Args: path: file of a GaussianSequence. world, notes: replace those in the file.

        Raises:
            InputError: the file is not a GaussianSequence.
        """
        self.path = Path(path)
        metadata = read_metadata(self.path)
        if metadata.get("kind") != self.kind:
            raise InputError(f"{path}: expected a {self.kind}, got a {metadata.get('kind')}")
        self.world = read_world(metadata) if world is None else world
        self.notes: Mapping[str, str] = read_notes(self, metadata) if notes is None else notes
        with safe_open(self.path, framework="pt") as file:
            self.times = file.get_tensor("times").clone()
            self.num_frames, self.num_gaussians, _ = file.get_slice("means").get_shape()
        self.seconds = float(self.times[0]), float(self.times[-1])

    def timestamps(self, count: int) -> list[float]:
        """Return the times of the frames."""
        return self.times.tolist()

    def frame(self, index: int) -> Gaussians3D:
        """Return the Gaussians of one frame, in the scene's own world."""
        return gaussians_at(self, float(self.times[index]))

    def at(self, seconds: float) -> Gaussians3D:
        """Return the frame nearest in time, in the capture's world."""
        return gaussians_at(self, seconds).in_world()

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Read the frames nearest in time."""
        which = nearest_frames(self.times, seconds).tolist()
        with safe_open(self.path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in SPLAT_SHAPES}
            return {name: torch.stack([part[index] for index in which]) for name, part in slices.items()}

    def linear_form(self) -> None:
        return None

    def with_world(self, world: Similarity) -> StoredSequence:
        return StoredSequence(self.path, world, self.notes)

    def with_notes(self, notes: Mapping[str, str]) -> StoredSequence:
        return StoredSequence(self.path, self.world, notes)

    def editable(self) -> GaussianSequence:
        """Read the whole sequence.

        Raises:
            InputError: it does not fit into memory.
        """
        return sequence_in_memory(self)

    def tensors(self) -> dict[str, Tensor]:
        """Read the whole sequence."""
        with safe_open(self.path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in (*SPLAT_SHAPES, "times")}

    def metadata(self) -> dict[str, str]:
        return {}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> GaussianSequence:
        """Build the sequence in memory, because its tensors are."""
        return GaussianSequence.from_file(tensors, world, metadata)


def sequence_in_memory(scene: Scene) -> GaussianSequence:
    """Read a sequence on disk, and refuse one that is too long to be edited.

    Raises:
        InputError: it takes more than a third of the free memory.
    """
    size = FLOAT * sum(WIDTHS.values()) * (scene.num_frames or 1) * scene.num_gaussians
    free = available_memory("cpu")
    if EDIT_COPIES * size > free:
        problem = f"scene: a sequence of {scene.num_frames} frames takes {size / 1e9:.1f} GB, edits hold {EDIT_COPIES} copies"
        raise InputError(f"{problem} and {free / 1e9:.1f} GB of memory are free; edit a part of its frames")
    return GaussianSequence.from_file(scene.tensors(), scene.world, {}).with_notes(scene.notes)


def _header(frames: int, count: int, metadata: dict[str, str]) -> tuple[bytes, dict[str, int]]:
    """Build the file's header, and the offset of each field. The times (float64) come first, for alignment."""
    entries: dict[str, Any] = {"__metadata__": metadata, "times": {"dtype": "F64", "shape": [frames], "data_offsets": [0, 8 * frames]}}
    at, starts = 8 * frames, {}
    for name, width in WIDTHS.items():
        size = FLOAT * width * frames * count
        shape = [frames, count] + ([width] if width > 1 else [])
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        starts[name] = at
        at += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, {name: 8 + len(text) + start for name, start in starts.items()}


def _check_space(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free + (path.stat().st_size if path.is_file() else 0)
    if size > free:
        raise InputError(
            f"{path}: the sequence takes {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free there",
            "take fewer frames ({fps}, {start}, {end}, {max_frames}) or another disk",
            fps=...,
            start=...,
            end=...,
            max_frames=...,
        )
