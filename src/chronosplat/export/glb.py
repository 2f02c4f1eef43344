"""GLB files, written as a stream: binary data goes to the disk as it comes, the JSON that describes it follows at the end.

One writer serves splats and meshes. A sequence is one node per frame whose scale is switched between one and zero (glTF
2.0, section 3.5.2: a node of zero scale need not be rendered), because glTF has no other animation of geometry that all
viewers play.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from chronosplat.cameras import Similarity
from chronosplat.shapes import InputError

Array = NDArray[Any]

COMPONENTS = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
VERTICES, INDICES = 34962, 34963  # what a buffer view is for
MOST = 2**32 - 2**24  # bytes: a GLB counts with 32 bits; the rest is for its JSON
LIT_UP, DARK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)  # scales of a node that is seen, and of one that is not


class GlbWriter:
    """Writes a GLB; the file is complete when the ``with`` block ends without an error.

    Attributes:
        json: the document, to be added to.
    """

    def __init__(self, path: Path, world: Similarity) -> None:
        """Args: world: from the normalised world to the file's coordinates; noted, so that the file is read upright again."""
        from chronosplat import __version__

        self.path = path
        notes: dict[str, Any] = {"world": world.matrix().flatten().tolist()}
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"chronosplat {__version__}", "extras": {"chronosplat": notes}},
            "scene": 0,
            "scenes": [{"nodes": []}],
        }
        self._notes, self._size = notes, 0
        self._known: dict[bytes, int] = {}  # equal data is written once
        self._binary = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._binary:
            if error is None:
                self._finish()

    def add(self, array: str, item: dict[str, Any]) -> int:
        """Add an item to one of the document's arrays, and return its index."""
        self.json.setdefault(array, []).append(item)
        return len(self.json[array]) - 1

    def use(self, extension: str) -> None:
        """Declare an extension."""
        used = self.json.setdefault("extensionsUsed", [])
        if extension not in used:
            used.append(extension)

    def accessor(self, values: Array, target: int | None = None, normalized: bool = False, bounds: bool = False) -> int:
        """Write an array [count] or [count, width], and return the index of its accessor.

        Args:
            target: VERTICES, INDICES, or None for an animation.
            bounds: whether to note the smallest and the largest values.

        Raises:
            InputError: the file would be larger than a GLB can be.
        """
        table = np.ascontiguousarray(values.reshape(len(values), -1))
        data = table.astype(table.dtype.newbyteorder("<"), copy=False).tobytes()
        key = hashlib.blake2b(f"{table.dtype} {table.shape} {target} {normalized} {bounds}".encode() + data, digest_size=16).digest()
        if key in self._known:
            return self._known[key]
        if self._size + len(data) > MOST:
            raise InputError(f"{self.path.name}: a GLB holds at most 4 GiB", "write fewer {times}, or one file for each time", times=...)
        self._binary.write(data + bytes(-len(data) % 4))
        view = {"buffer": 0, "byteOffset": self._size, "byteLength": len(data)} | ({"target": target} if target else {})
        self._size += len(data) + -len(data) % 4
        item: dict[str, Any] = {
            "bufferView": self.add("bufferViews", view),
            "componentType": COMPONENTS[str(table.dtype)],
            "count": len(table),
            "type": TYPES[table.shape[1]],
        }
        if normalized:
            item["normalized"] = True
        if bounds:
            item |= {"min": table.min(0).tolist(), "max": table.max(0).tolist()}
        self._known[key] = self.add("accessors", item)
        return self._known[key]

    def show(self, nodes: Sequence[int]) -> None:
        """Put nodes into the scene."""
        self.json["scenes"][0]["nodes"] += nodes

    def show_in_turn(self, nodes: Sequence[int], seconds: Sequence[float]) -> None:
        """Put nodes into the scene that are visible one after the other.

        Args:
            seconds: when each appears; the last stays as long as the others do on average. The file's clock starts at zero, and the
                first second is noted.
        """
        self.show(nodes)
        if len(nodes) < 2:
            return
        clock = self.start_clock(seconds)
        end = clock[-1] + clock[-1] / (len(clock) - 1)
        samplers, channels = [], []
        for index, node in enumerate(nodes):
            if index:
                self.json["nodes"][node]["scale"] = DARK  # at rest the first frame is seen
            keys = [(0.0, DARK)] * (index > 0) + [(clock[index], LIT_UP)]
            keys += [(clock[index + 1], DARK)] if index + 1 < len(nodes) else [(end, LIT_UP)]
            times, scales = (np.array(part, np.float32) for part in zip(*keys, strict=True))
            samplers.append({"input": self.accessor(times, bounds=True), "output": self.accessor(scales), "interpolation": "STEP"})
            channels.append({"sampler": index, "target": {"node": node, "path": "scale"}})
        self.add("animations", {"name": "frames", "samplers": samplers, "channels": channels})

    def start_clock(self, seconds: Sequence[float]) -> list[float]:
        """Note the first second, and return the seconds after it."""
        self._notes["first_second"] = float(seconds[0])
        return [second - seconds[0] for second in seconds]

    def _finish(self) -> None:
        """Assemble the file."""
        if self._size:
            self.json["buffers"] = [{"byteLength": self._size}]
        text = json.dumps(self.json, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        chunks = 8 + len(text) + (8 + self._size if self._size else 0)
        with self.path.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, 12 + chunks))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            if self._size:
                file.write(struct.pack("<I4s", self._size, b"BIN\0"))
                self._binary.seek(0)
                shutil.copyfileobj(self._binary, file, 1 << 20)
