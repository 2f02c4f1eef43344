"""One clip as bytes: a run of tar members, ``KEY.json`` first, then ``KEY.VVV.webp`` and ``KEY.VVV.npz`` of every view.

The JSON holds cameras, times and facts. The WebP plays the view's T frames (:mod:`chronosplat.data.webp`). The NPZ, where geometry
is known, holds arrays ``000`` to ``T-1`` [h, w, 4] float16 of the same rectangles as the frames. docs/shards.md is the exact form.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chronosplat.data.clip import Clip, ClipInfo
from chronosplat.data.webp import Animation, Rect, covered, decode, index, pack
from chronosplat.shapes import InputError

VERSION = 1
BLOCK = 512  # tar's unit
MEMBER = re.compile(r"[a-z0-9_-]{1,80}\.(json|\d{3,5}\.(webp|npz))")
NPY_HEADER = 256  # bytes that an array's header may take


@dataclass(frozen=True)
class ShardOptions:
    """How images are stored.

    Attributes:
        quality: WebP's, 0 to 100; None is lossless, which is exact and decodes faster, in 1.7 times the bytes of 95.
    """

    quality: int | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise InputError(f"quality: expected 0 to 100, or None for lossless; got {self.quality}")


def encode_sample(clip: Clip, options: ShardOptions = ShardOptions()) -> bytes:
    """Encode a clip as tar members; the same clip and options give the same bytes."""
    members = [(f"{clip.key}.json", json.dumps(_described(clip), separators=(",", ":"), sort_keys=True, allow_nan=False).encode())]
    shapes: list[tuple[str, bytes]] = []
    gaps = [abs(round(1000 * float(gap))) for gap in np.diff(clip.seconds)] or [1000]
    for view in range(clip.views):
        frames = clip.frames[:, view]
        seen = frames[..., 3] > 0
        if clip.geometry is not None:
            seen = seen | (clip.geometry[:, view] != 0).any(-1)
        rects = [covered(mask) for mask in seen]
        members.append((f"{clip.key}.{view:03d}.webp", pack(frames, rects, [*gaps, gaps[-1]][: clip.times], options.quality)))
        if clip.geometry is not None:
            shapes.append((f"{clip.key}.{view:03d}.npz", _packed_arrays(clip.geometry[:, view], rects)))
    return b"".join(_member(name, content) for name, content in [*members, *shapes])


@dataclass(frozen=True, kw_only=True)
class StoredClip(ClipInfo):
    """A clip as bytes; frames are decoded when they are read.

    Attributes:
        data: the tar members. members: where each one's content is, by the part of its name after the key.
        where: its address for messages. has_geometry: whether depth and motion are known.
    """

    data: bytes | memoryview
    members: dict[str, tuple[int, int]]
    where: str
    has_geometry: bool
    _animations: dict[int, Animation] = field(default_factory=dict, repr=False)

    def read(self, times: Sequence[int], views: Sequence[int]) -> NDArray[np.uint8]:
        """Decode the images of F (time, view) pairs, [F, H, W, 4].

        Raises:
            InputError: one does not decode.
        """
        out = np.zeros((len(times), self.height, self.width, 4), np.uint8)
        for image, time, view in zip(out, times, views, strict=True):
            data = self._content(view, "webp")
            frame = self._animation(view).frame(data, time)
            left, top, w, h = frame.rect
            image[top : top + h, left : left + w] = decode(data, frame, self._what(view, "webp"))
        return out

    def read_geometry(self, times: Sequence[int], views: Sequence[int]) -> NDArray[np.float16]:
        """Decode depth and motion of F (time, view) pairs, [F, H, W, 4].

        Raises:
            InputError: the clip has none, or one does not decode.
        """
        if not self.has_geometry:
            raise InputError(f"{self.where}: clip {self.key} has no geometry")
        out = np.zeros((len(times), self.height, self.width, 4), np.float16)
        for image, time, view in zip(out, times, views, strict=True):
            left, top, w, h = rect = self._animation(view).frame(self._content(view, "webp"), time).rect
            image[top : top + h, left : left + w] = _unpacked(self._content(view, "npz"), time, rect, self._what(view, "npz"))
        return out

    def clip(self) -> Clip:
        """Decode the whole clip.

        Raises:
            InputError: a frame does not decode.
        """
        times, views = (index.ravel().tolist() for index in np.indices((self.times, self.views)))
        shape = (self.times, self.views, self.height, self.width, 4)
        geometry = self.read_geometry(times, views).reshape(shape) if self.has_geometry else None
        info = {name: getattr(self, name) for name in ClipInfo.__dataclass_fields__}
        return Clip(**info, frames=self.read(times, views).reshape(shape), geometry=geometry)

    def _content(self, view: int, kind: str) -> memoryview:
        name = f"{view:03d}.{kind}"
        if name not in self.members:
            raise InputError(f"{self.where}: {self.key}.{name} is missing")
        start, end = self.members[name]
        return memoryview(self.data)[start:end]

    def _animation(self, view: int) -> Animation:
        if view not in self._animations:
            what, found = self._what(view, "webp"), index(self._content(view, "webp"), self._what(view, "webp"))
            if (found.width, found.height, len(found.spans)) != (self.width, self.height, self.times):
                got = f"{len(found.spans)} frames of {found.width}x{found.height}"
                raise InputError(f"{what}: {got}; the clip has {self.times} of {self.width}x{self.height}")
            self._animations[view] = found
        return self._animations[view]

    def _what(self, view: int, kind: str) -> str:
        return f"{self.where}: {self.key}.{view:03d}.{kind}"


def parse_sample(data: bytes | memoryview, where: str) -> StoredClip:
    """Read a clip's description; its images stay encoded.

    Args:
        data: the clip's tar members. where: their address for messages.

    Raises:
        InputError: they are not a clip's members, or damaged.
    """
    members = {name: (start, end) for name, start, end in tar_members(data, where)}
    first = next(iter(members), "")
    key = first.removesuffix(".json")
    strange = [name for name in members if not name.startswith(f"{key}.")]
    if not first.endswith(".json") or strange:
        raise InputError(f"{where}: expected the members of one clip, its .json first; found {(strange or [first])[0] or 'none'}")
    try:
        meta = json.loads(bytes(data[slice(*members[first])]))
        if meta["version"] != VERSION:
            raise InputError(f"{where}: version {meta['version']!r}; this chronosplat reads {VERSION}", "update it")
        width, height = meta["size"]
        times, views = len(meta["seconds"]), meta["views"]
        viewmats = _matrices([view["poses"] for view in views], times, 4)
        Ks = _matrices([view["intrinsics"] for view in views], times, 3)
        described = {
            "viewmats": viewmats,
            "Ks": Ks,
            "width": int(width),
            "height": int(height),
            "seconds": np.array(meta["seconds"], float),
        }
        inner = {name.removeprefix(f"{key}."): span for name, span in members.items()}
        described |= {"groups": meta["groups"], "facts": meta["facts"], "has_geometry": meta["geometry"] is True}
        return StoredClip(key=key, **described, data=data, members=inner, where=where)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(f"{where}: {first}: not a clip's description ({type(error).__name__}: {str(error)[:80]})") from error


def tar_members(data: bytes | memoryview, where: str) -> Iterator[tuple[str, int, int]]:
    """Walk tar headers; yield each member's name and where its content begins and ends.

    Raises:
        InputError: a header is damaged, its content is cut off, or its name is none of ours (so it cannot lead out of a folder).
    """
    position = 0
    while position < len(data):
        header = bytes(data[position : position + BLOCK])
        try:
            name, size = header[: header.index(0)].decode("ascii"), int(header[124:135], 8)
            whole = len(header) == BLOCK and header[156:157] == b"0" and int(header[148:154], 8) == _checksum(header)
        except ValueError:
            name, size, whole = "", 0, False
        if not whole:
            raise InputError(f"{where}: damaged at byte {position}: not the header of a tar member")
        if not MEMBER.fullmatch(name):
            raise InputError(f"{where}: member {name[:100]!r}: expected a name such as KEY.json or KEY.000.webp")
        start = position + BLOCK
        padded = -(-size // BLOCK) * BLOCK
        if start + padded > len(data):
            raise InputError(f"{where}: {name} is cut off: {padded} bytes, {len(data) - start} are left")
        yield name, start, start + size
        position = start + padded


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 8 * 32 + sum(header[156:])


def _member(name: str, content: bytes) -> bytes:
    """A tar member without owner and date."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)


def _described(clip: Clip) -> dict[str, Any]:
    """The JSON of a clip; numbers are the shortest that give the same float32."""
    views = []
    for view in range(clip.views):
        poses, Ks = clip.viewmats[:, view], clip.Ks[:, view]
        rest = Ks.copy()
        rest[:, [0, 0, 1, 1], [0, 2, 1, 2]] = 0
        if (rest != [[0, 0, 0], [0, 0, 0], [0, 0, 1]]).any() or (poses[:, 3] != [0, 0, 0, 1]).any():
            raise InputError(f"clip {clip.key}: view {view}: expected a pinhole camera without skew, and rigid viewmats")
        intrinsics = Ks[:, [0, 1, 0, 1], [0, 1, 2, 2]]
        views.append({"poses": _rows(poses[:, :3].reshape(-1, 12)), "intrinsics": _rows(intrinsics)})
    head = {"version": VERSION, "key": clip.key, "size": [clip.width, clip.height], "geometry": clip.geometry is not None}
    return {**head, "seconds": clip.seconds.tolist(), "views": views, "groups": clip.groups, "facts": clip.facts}


def _rows(values: NDArray[np.float32]) -> list[list[float]]:
    """One row where all T are equal, else T rows."""
    rows = values[:1] if (values == values[0]).all() else values
    return [[float(str(number)) for number in row] for row in rows]


def _matrices(rows: list[list[list[float]]], times: int, n: int) -> NDArray[np.float32]:
    """Build matrices [T, V, n, n] from each view's rows in the JSON: one, or T."""
    if any(len(of_view) != 1 for of_view in rows):
        rows = [of_view * times if len(of_view) == 1 else of_view for of_view in rows]
    numbers = np.array(rows, np.float32).swapaxes(0, 1)  # [1 or T, V, 12 or 4]
    out = np.zeros((*numbers.shape[:2], n, n), np.float32)
    if n == 4:
        out[..., :3, :], out[..., 3, 3] = numbers.reshape(*numbers.shape[:2], 3, 4), 1
    else:
        out[..., [0, 1, 0, 1], [0, 1, 2, 2]], out[..., 2, 2] = numbers.reshape(*numbers.shape[:2], 4), 1
    return np.broadcast_to(out, (times, *out.shape[1:]))


def _packed_arrays(geometry: NDArray[np.float16], rects: Sequence[Rect]) -> bytes:
    """An NPZ of the rectangles of [T, H, W, 4], without dates."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for time, (left, top, w, h) in enumerate(rects):
            array = io.BytesIO()
            np.lib.format.write_array(array, np.ascontiguousarray(geometry[time, top : top + h, left : left + w]), (1, 0))
            entry = zipfile.ZipInfo(f"{time:03d}.npy")
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(entry, array.getvalue(), compresslevel=1)
    return file.getvalue()


def _unpacked(data: memoryview, time: int, rect: Rect, what: str) -> NDArray[np.float16]:
    _, _, w, h = rect
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = archive.getinfo(f"{time:03d}.npy")
            if entry.file_size > w * h * 8 + NPY_HEADER:
                raise ValueError(f"{entry.file_size} bytes for {w}x{h} pixels")
            array = np.lib.format.read_array(io.BytesIO(archive.read(entry)), allow_pickle=False, max_header_size=NPY_HEADER)
        if array.shape != (h, w, 4) or array.dtype != np.float16:
            raise ValueError(f"{array.dtype} {array.shape}")
    except (ValueError, KeyError, OSError, EOFError, SyntaxError, NotImplementedError, RuntimeError, MemoryError) as error:
        raise InputError(f"{what}: frame {time} does not decode ({str(error)[:80]})") from error
    except (zipfile.BadZipFile, zlib.error, OverflowError) as error:
        raise InputError(f"{what}: damaged ({str(error)[:80]})") from error
    return array
