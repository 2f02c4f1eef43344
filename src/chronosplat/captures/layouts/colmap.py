"""COLMAP reconstructions, text and binary: ``sparse/0/`` with cameras and images, and the images in ``images/``.

Times come from a table, ``times.txt`` or ``times.csv`` with lines ``NAME SECONDS``; else from names that hold one (``cam01_t0012.png``), or
from rigs whose cameras are folders with the same numbered files (``cam01/0012.png``); those count frames. Else the capture is static.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from chronosplat.cameras import Cameras
from chronosplat.captures.layouts.colmap_files import ColmapCamera, ColmapImage, read_cameras, read_images
from chronosplat.captures.registry import Described, Layout, register
from chronosplat.events import info
from chronosplat.shapes import InputError

FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", ".")
TABLES = ("times.txt", "times.csv")
FPS = 30.0  # of numbers in file names


def _model(folder: Path) -> Path | None:
    """The folder of the reconstruction."""
    for name in FOLDERS:
        for suffix in (".bin", ".txt"):
            if all((folder / name / f"{what}{suffix}").is_file() for what in ("cameras", "images")):
                return folder / name
    return None


def _splits(folder: Path) -> tuple[str, ...]:
    return ("train",) if _model(folder) else ()


def _describe(folder: Path, split: str) -> Described:
    model = _model(folder)
    assert model is not None
    suffix = ".bin" if (model / "images.bin").is_file() and (model / "cameras.bin").is_file() else ".txt"
    path = model / f"images{suffix}"
    cameras, images = read_cameras(model / f"cameras{suffix}"), sorted(read_images(path), key=lambda image: image.name)
    if not images:
        raise InputError(f"{path}: has no images")
    times, notices = _times(folder, [image.name for image in images])
    quats, translations = (torch.tensor([getattr(i, name) for i in images], dtype=torch.float64) for name in ("quat", "translation"))
    if not (torch.isfinite(quats).all() and torch.isfinite(translations).all() and (quats.norm(dim=-1) > 1e-6).all()):
        raise InputError(f"{path}: a pose is not finite, or its quaternion is zero")
    poses = Cameras.from_colmap(quats, translations, torch.eye(3, dtype=torch.float64).expand(len(images), 3, 3), 1, 1).to_opengl_c2w()
    frames = [
        _frame(folder, path, image, cameras, pose) | ({} if times is None else {"timestamp": times[i]})
        for i, (image, pose) in enumerate(zip(images, poses.tolist(), strict=True))
    ]
    if times is not None:
        frames.sort(key=lambda frame: frame["timestamp"])
    return Described({"frames": frames}, path, None, notices)


def _frame(folder: Path, path: Path, image: ColmapImage, cameras: dict[int, ColmapCamera], pose: Any) -> dict[str, Any]:
    if image.camera not in cameras:
        raise InputError(f"{path}: {image.name}: camera {image.camera} is missing in the cameras' file")
    if Path(image.name).is_absolute() or ".." in Path(image.name).parts:
        raise InputError(f"{path}: {image.name!r} leads out of the capture's folder")
    file = next((f for f in (folder / "images" / image.name, folder / image.name) if f.is_file()), folder / "images" / image.name)
    return {"file_path": str(file.resolve()), "transform_matrix": pose, **cameras[image.camera].as_json()}


def _times(folder: Path, names: list[str]) -> tuple[list[float] | None, tuple[Any, ...]]:
    """Return the seconds of each image, or None for a static capture."""
    if table := next((folder / name for name in TABLES if (folder / name).is_file()), None):
        listed = _table(table)
        if missing := [name for name in names if name not in listed]:
            raise InputError(f"{table}: has no time of {missing[0]}")
        return [listed[name] for name in names], ()
    stems = [Path(name).stem for name in names]
    marked = [re.search(r"(?:^|[_-])t(\d+)$", stem) for stem in stems]
    if all(marked):
        numbers = [int(match[1]) for match in marked if match]
    elif all(stem.isdigit() for stem in stems) and len({*stems}) < len(stems) and len({Path(name).parent for name in names}) > 1:
        numbers = [int(stem) for stem in stems]
    else:
        return None, ()
    assumed = f"{folder.name}: times from file names, at {FPS:g} frames per second; {TABLES[0]} with lines NAME SECONDS states others"
    return [(n - min(numbers)) / FPS for n in numbers], (info("assumed-times", assumed),)


def _table(path: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        name, _, seconds = line.strip().replace(",", " ").replace("\t", " ").rpartition(" ")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found[name.strip()] = float(seconds)
        except ValueError as error:
            if number > 1:  # the first line may name the columns
                raise InputError(f"{path}: line {number}: expected NAME SECONDS, got {line[:60]!r}") from error
    return found


register(Layout("colmap", "sparse/0/images.bin or images.txt, with cameras and images/", _splits, _describe))
