"""COLMAP's files of cameras and images, text and binary."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chronosplat.shapes import InputError

FOCAL1, FOCAL2 = ("f", "cx", "cy"), ("fx", "fy", "cx", "cy")
# number in binary files -> name, parameters; models without a pinhole have none
MODELS: dict[int, tuple[str, tuple[str, ...], int]] = {
    0: ("SIMPLE_PINHOLE", FOCAL1, 3),
    1: ("PINHOLE", FOCAL2, 4),
    2: ("SIMPLE_RADIAL", (*FOCAL1, "k1"), 4),
    3: ("RADIAL", (*FOCAL1, "k1", "k2"), 5),
    4: ("OPENCV", (*FOCAL2, "k1", "k2", "p1", "p2"), 8),
    5: ("OPENCV_FISHEYE", (), 8),
    6: ("FULL_OPENCV", (*FOCAL2, "k1", "k2", "p1", "p2", "k3", "k4"), 12),
    7: ("FOV", (), 5),
    8: ("SIMPLE_RADIAL_FISHEYE", (), 4),
    9: ("RADIAL_FISHEYE", (), 5),
    10: ("THIN_PRISM_FISHEYE", (), 12),
}


@dataclass(frozen=True)
class ColmapCamera:
    """A camera: its size in pixels, and parameters by name."""

    width: int
    height: int
    values: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the intrinsics as in transforms JSON."""
        focal = self.values.get("f")
        fx, fy = (focal, focal) if focal is not None else (self.values["fx"], self.values["fy"])
        rest = {name: value for name, value in self.values.items() if name not in ("f", "fx", "fy")}
        return {"fl_x": fx, "fl_y": fy, "w": self.width, "h": self.height, **rest}


@dataclass(frozen=True)
class ColmapImage:
    """An image: world-to-camera quaternion (wxyz) and translation, its camera's number and its file's name."""

    quat: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    """Read ``cameras.bin`` or ``cameras.txt``.

    Raises:
        InputError: it is damaged, or a camera is a fisheye.
    """
    found: dict[int, ColmapCamera] = {}
    if path.suffix == ".bin":
        reader = _Reader(path)
        for _ in range(reader.count(48)):
            number, model, width, height = reader.take("<iiQQ")
            found[number] = _camera(path, MODELS.get(model), str(model), width, height, reader.take(f"<{_parameters(path, model)}d"))
        return found
    names = {entry[0]: entry for entry in MODELS.values()}
    for line in _lines(path):
        try:
            number, model, width, height, *values = line.split()
            found[int(number)] = _camera(path, names.get(model), model, int(width), int(height), [float(v) for v in values])
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{path}: expected ID MODEL WIDTH HEIGHT PARAMETERS, got {line[:60]!r}") from error
    return found


def read_images(path: Path) -> list[ColmapImage]:
    """Read ``images.bin`` or ``images.txt``; points are passed over.

    Raises:
        InputError: it is damaged.
    """
    found: list[ColmapImage] = []
    if path.suffix == ".bin":
        reader = _Reader(path)
        for _ in range(reader.count(73)):
            values = reader.take("<i7di")
            name = reader.name()
            reader.skip(24 * reader.take("<Q")[0])
            found.append(ColmapImage(values[1:5], values[5:8], values[8], name))
        return found
    for line in _lines(path)[::2]:  # every second line lists points
        try:
            _, *pose, camera, name = line.split(maxsplit=9)
            numbers = tuple(float(v) for v in pose)
            found.append(ColmapImage(numbers[:4], numbers[4:7], int(camera), name))
        except ValueError as error:
            raise InputError(f"{path}: expected ID QW QX QY QZ TX TY TZ CAMERA NAME, got {line[:60]!r}") from error
        if len(numbers) != 7:
            raise InputError(f"{path}: expected ID QW QX QY QZ TX TY TZ CAMERA NAME, got {line[:60]!r}")
    return found


def _camera(path: Path, model: Any, name: str, width: int, height: int, values: Any) -> ColmapCamera:
    if model is None or len(values) != model[2]:
        raise InputError(f"{path}: camera model {name!r} with {len(values)} parameters; is the file damaged?")
    if not model[1]:
        raise InputError(f"{path}: camera model {model[0]} is a fisheye; undistort the images with COLMAP's image_undistorter")
    return ColmapCamera(width, height, dict(zip(model[1], values, strict=False)))


def _parameters(path: Path, model: int) -> int:
    if model not in MODELS:
        raise InputError(f"{path}: camera model {model}; is the file damaged?")
    return MODELS[model][2]


def _lines(path: Path) -> list[str]:
    """The lines of a file that are not comments; empty ones count, because an image may have no points."""
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if not line.startswith("#")]
    if path.stem != "images":
        return [line for line in lines if line.strip()]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


class _Reader:
    """A binary file, read in order."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.position = path, path.read_bytes(), 0

    def take(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize(form)
        self.skip(size)
        return struct.unpack(form, self.data[self.position - size : self.position])

    def skip(self, size: int) -> None:
        if size > len(self.data) - self.position:
            raise InputError(f"{self.path}: is cut off at byte {self.position} of {len(self.data)}")
        self.position += size

    def count(self, least: int) -> int:
        """Read the number of records, of at least so many bytes each."""
        (number,) = self.take("<Q")
        if number * least > len(self.data):
            raise InputError(f"{self.path}: {number} records in {len(self.data)} bytes; is the file damaged?")
        return number

    def name(self) -> str:
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise InputError(f"{self.path}: is cut off at byte {self.position}: a name has no end")
        text = self.data[self.position : end].decode("utf-8", errors="replace")
        self.position = end + 1
        return text
