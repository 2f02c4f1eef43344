"""The tar files that L4GM's own loader reads, written from clips and read as clips.

A clip is two tars, ``fixed_16_clip-UID`` and ``random_clip-UID`` (8 frames at 8 fps), and for the interpolation model two more,
``fixed_16_24fps-UID`` and ``random_24fps-UID`` (24 frames); ``datalist_8fps.txt`` and ``datalist_24fps.txt`` list the UIDs. Members:
``VVV/img/TTT.jpg`` (on white), ``VVV/mask/TTT.png``, ``VVV/camera/{rotation,elevation}.npy`` (degrees, one per frame).
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chronosplat.cameras import FOVY, RADIUS, orbit
from chronosplat.data.clip import MOST_SIDE, Clip, spelled_key
from chronosplat.files import atomic_file
from chronosplat.shapes import InputError

FORMS = {"8fps": ("fixed_16_clip", "random_clip", 3), "24fps": ("fixed_16_24fps", "random_24fps", 1)}  # names, every so many frames
HALF_TURN = 180.0  # their azimuth 0 is at the object's back in glTF's terms, ours at its front
POSE_TOLERANCE = 2e-3
MOST_MEMBER = 64 * 2**20  # bytes


def l4gm_uid(clip: Clip) -> str:
    """Return a clip's name: its second field, between dashes, is the same for all clips of an animation."""
    window = int(clip.facts.get("window", 0))
    animation = re.sub(r"[^a-z0-9]+", "_", re.sub(r"[-_]?\d+$", "", clip.key) if "window" in clip.facts else clip.key)
    return f"clip-{animation}-{window:03d}"


def write_l4gm(clip: Clip, folder: Path) -> str:
    """Write a clip's tars.

    Returns:
        Its UID.

    Raises:
        InputError: it lacks the groups ``fixed`` (16) and ``random`` (32), has not 24 frames, or its cameras are not on L4GM's orbit.
    """
    groups = {"fixed": clip.group("fixed"), "random": clip.group("random")}
    if (len(groups["fixed"]), len(groups["random"]), clip.times) != (16, 32, 24):
        found = f"{clip.times} times, {len(groups['fixed'])} fixed and {len(groups['random'])} random views"
        raise InputError(f"clip {clip.key}: {found}; L4GM's loader takes 24, 16 and 32")
    angles = {name: orbit_angles(clip, views) for name, views in groups.items()}
    uid = l4gm_uid(clip)
    for fixed, random, step in FORMS.values():
        times = list(range(0, clip.times, step))
        for prefix, name in ((fixed, "fixed"), (random, "random")):
            with atomic_file(folder / f"{prefix}-{uid}") as fresh, tarfile.open(fresh, "w", format=tarfile.USTAR_FORMAT) as tar:
                for place, view in enumerate(groups[name]):
                    _add_view(tar, f"{place:03d}", clip.frames[times, view], angles[name][times, place])
    return uid


def write_datalists(folder: Path, uids: Iterable[str]) -> None:
    """Write the lists that name all clips of a folder."""
    text = "".join(f"{uid}\n" for uid in sorted(uids))
    for form in FORMS:
        with atomic_file(folder / f"datalist_{form}.txt") as fresh:
            fresh.write_text(text)


def orbit_angles(clip: Clip, views: list[int]) -> NDArray[np.float64]:
    """Return azimuths and elevations [T, V, 2] in degrees.

    Raises:
        InputError: a camera is not upright on the sphere of radius 1.5, or its field of view is not 49.1 degrees.
    """
    viewmats = clip.viewmats[:, views].astype(np.float64)
    centers = -np.einsum("tvji,tvj->tvi", viewmats[..., :3, :3], viewmats[..., :3, 3])
    azimuth = np.degrees(np.arctan2(centers[..., 0], centers[..., 2]))
    elevation = np.degrees(np.arcsin(np.clip(centers[..., 1] / np.linalg.norm(centers, axis=-1), -1, 1)))
    wanted = orbit(azimuth.ravel().tolist(), elevation.ravel().tolist(), clip.width)
    error = np.abs(wanted.viewmats.numpy().reshape(viewmats.shape) - viewmats).max()
    focal, expected = (m.reshape(*viewmats.shape[:2], 3, 3)[..., [0, 1], [0, 1]] for m in (clip.Ks[:, views], wanted.Ks.numpy()))
    error = max(error, np.abs(focal / expected - 1).max())
    if not error < POSE_TOLERANCE:
        raise InputError(f"clip {clip.key}: its cameras are not L4GM's (radius {RADIUS}, fovy {FOVY}, upright); render with that rig")
    return np.stack([azimuth, elevation], -1)


def _add_view(tar: tarfile.TarFile, view: str, frames: NDArray[np.uint8], angles: NDArray[np.float64]) -> None:
    for t, rgba in enumerate(frames.astype(np.float32)):
        alpha = rgba[..., 3:] / 255
        white = (rgba[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
        _add_image(tar, f"{view}/img/{t:03d}.jpg", white, "JPEG", quality=95, subsampling=0)
        _add_image(tar, f"{view}/mask/{t:03d}.png", rgba[..., 3].astype(np.uint8), "PNG")
    for name, values in (("rotation", (angles[:, 0] + HALF_TURN) % 360), ("elevation", angles[:, 1])):
        array = io.BytesIO()
        np.save(array, values.astype(np.float64))
        _add(tar, f"{view}/camera/{name}.npy", array.getvalue())


def _add_image(tar: tarfile.TarFile, name: str, pixels: NDArray[np.uint8], form: str, **options: int) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    _add(tar, name, file.getvalue())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member, and a hard link ``./NAME``: versions of the loader differ in how they spell it."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
    link = tarfile.TarInfo(f"./{name}")
    link.type, link.linkname = tarfile.LNKTYPE, name
    tar.addfile(link)


def l4gm_uids(folder: Path) -> dict[str, str]:
    """Return the UIDs of a folder of tars, and the form that each is read in: 24 fps where there is that."""
    found: dict[str, str] = {}
    for form, (fixed, random, _) in FORMS.items():  # the later one counts
        for path in sorted(folder.glob(f"{fixed}-*")):
            uid = path.name.removeprefix(f"{fixed}-")
            if (folder / f"{random}-{uid}").is_file():
                found[uid] = form
    return found


def read_l4gm(folder: Path, uid: str, form: str = "8fps") -> Clip:
    """Read a clip's two tars; the fixed views come first.

    Raises:
        InputError: a tar or a member is missing, or damaged.
    """
    fixed, random, step = FORMS[form]
    parts = [_read_tar(folder / f"{prefix}-{uid}") for prefix in (fixed, random)]
    if len({(part[0].shape[0], *part[0].shape[2:]) for part in parts}) > 1:
        raise InputError(f"{folder}: {uid}: its fixed and random views differ in times or size")
    frames, angles = np.concatenate([part[0] for part in parts], 1), np.concatenate([part[1] for part in parts], 1)
    T, V, size = frames.shape[:3]
    cameras = orbit((angles[..., 0].ravel() - HALF_TURN).tolist(), angles[..., 1].ravel().tolist(), size)
    count = parts[0][0].shape[1]
    return Clip(
        key=spelled_key(uid.removesuffix(".tar")),
        frames=frames,
        viewmats=cameras.viewmats.numpy().reshape(T, V, 4, 4),
        Ks=cameras.Ks.numpy().reshape(T, V, 3, 3),
        width=size,
        height=size,
        seconds=np.arange(T) * step / 24,
        groups={"fixed": list(range(count)), "random": list(range(count, V))},
        facts={"uid": uid, "layout": "l4gm"},
    )


def _read_tar(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Read frames [T, V, H, W, 4] and angles [T, V, 2]; the tar is never unpacked."""
    try:
        with tarfile.open(path) as tar:
            members = {m.name.removeprefix("./"): m for m in tar.getmembers() if m.isfile() and m.size <= MOST_MEMBER}
            views = sorted({name.split("/")[0] for name in members if re.fullmatch(r"\d{3}/img/\d{3}\.jpg", name)})
            times = sum(name.startswith(f"{views[0]}/img/") for name in members) if views else 0
            if not times:
                raise InputError(f"{path}: no images (VVV/img/TTT.jpg) in it")

            def content(name: str) -> io.BytesIO:
                if name not in members:
                    raise InputError(f"{path}: {name} is missing")
                file = tar.extractfile(members[name])
                assert file is not None
                return io.BytesIO(file.read())

            angles = [[_angles(content(f"{v}/camera/{name}.npy"), times) for name in ("rotation", "elevation")] for v in views]
            frames = [[_frame(content(f"{v}/img/{t:03d}.jpg"), content(f"{v}/mask/{t:03d}.png")) for v in views] for t in range(times)]
            return np.stack([np.stack(row) for row in frames]), np.array(angles).transpose(2, 0, 1)
    except InputError as error:
        raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
    except (OSError, tarfile.TarError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: damaged ({str(error)[:80]})") from error


def _angles(file: io.BytesIO, times: int) -> NDArray[np.float64]:
    values = np.asarray(np.load(file, allow_pickle=False), np.float64).ravel()
    if len(values) < times or not np.isfinite(values).all():
        raise InputError(f"{len(values)} angles for {times} frames")
    return values[:times]


def _frame(image: io.BytesIO, mask: io.BytesIO) -> NDArray[np.uint8]:
    """Build straight RGBA [H, W, 4] from an image on white and its mask."""
    with Image.open(image, formats=("JPEG",)) as opened, Image.open(mask, formats=("PNG",)) as matte:
        if max(*opened.size, *matte.size) > MOST_SIDE or opened.width != opened.height:
            raise InputError(f"an image of {opened.width}x{opened.height}, its mask {matte.width}x{matte.height}")
        white = np.asarray(opened.convert("RGB"), np.float32)
        alpha = np.asarray(matte.convert("L").resize(opened.size), np.float32)[..., None] / 255
    color = (white - 255 * (1 - alpha)) / np.maximum(alpha, 1 / 255) * (alpha > 0)
    return np.concatenate([np.clip(color + 0.5, 0, 255), 255 * alpha + 0.5], -1).astype(np.uint8)
