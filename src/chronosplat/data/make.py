"""From an object to its clips."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import chronosplat
from chronosplat.assets import Lights, MovingMesh, random_rig
from chronosplat.assets.augment import augment
from chronosplat.data.clip import Clip
from chronosplat.data.clips import pose_clip
from chronosplat.data.licences import licence_family
from chronosplat.data.motion import drifting, motion_measure
from chronosplat.data.objects import Motion, OpenedAsset, open_asset
from chronosplat.data.recipe import Recipe
from chronosplat.data.renderers import Shot, renderer
from chronosplat.data.rigs import Lens, make_rig, random_lens
from chronosplat.data.sources.asset import Asset
from chronosplat.data.sources.files import UnreachedError
from chronosplat.data.windows import Window, cut
from chronosplat.shapes import UnavailableError

SLUG_MOST = 50  # characters of a key that name the object
UNREACHED = "unreached"
Omit = Callable[[str, str, str], None]  # (kind, what, reason); kind: failed, skipped, or unreached, if it could not be downloaded


def asset_clips(asset: Asset, recipe: Recipe, cache: Path, omit: Omit) -> Iterator[Clip]:
    """Render all clips of an object. What cannot be rendered, or is not wanted, is reported and left out.

    Raises:
        OSError: the disk is full.
    """
    try:
        opened = open_asset(asset, cache, recipe.licences)
    except Exception as error:
        omit(UNREACHED if isinstance(error, UnreachedError) else "failed", asset.uid, reason(error))
        return
    for motion in opened.motions():
        if isinstance(motion, Exception):
            omit("failed", asset.uid, reason(motion))
            continue
        what = f"{asset.uid}, {motion.name or motion.index}" if motion.index is not None else asset.uid
        if opened.is_static and recipe.static == "skip":
            omit("skipped", what, "it is static")
            continue
        for variant in range(1 if opened.is_static else 1 + recipe.variants):
            yield from _motion_clips(opened, motion, variant, recipe, what, omit)


def _motion_clips(opened: OpenedAsset, motion: Motion, variant: int, recipe: Recipe, what: str, omit: Omit) -> Iterator[Clip]:
    """Render the clips of one animation, of the object itself (variant 0) or of a changed copy."""
    try:
        mesh = varied(opened, motion, variant, recipe)
    except Exception as error:
        omit("failed", f"{what}, variant {variant}", reason(error))
        return
    for window in cut(mesh.duration, recipe.frames, recipe.fps, recipe.clips):
        where = f"{what}, clip {window.index}" + (f" of variant {variant}" if variant else "")
        try:
            clip = make_clip(opened, replace(motion, mesh=mesh), window, recipe, variant)
        except Exception as error:
            omit("failed", where, reason(error))
            continue
        if isinstance(clip, Clip):
            yield clip
        else:
            omit("skipped", where, f"it hardly moves ({clip:.4f} of {recipe.motion:g})")


def varied(opened: OpenedAsset, motion: Motion, variant: int, recipe: Recipe) -> MovingMesh:
    """Return the moving object of a variant: as it is, set in motion if it is static, or changed at random."""
    rng = recipe.rng(variant_name(opened.asset.uid, variant), motion.index or 0, 0)
    if opened.is_static:
        return drifting(motion.mesh, recipe.frames / recipe.fps, rng)
    return augment(motion.mesh, int(rng.integers(2**31))) if variant else motion.mesh


def variant_name(uid: str, variant: int) -> str:
    """Return the name of a variant, which distinguishes its clips and its random numbers."""
    return f"{uid}_v{variant}" if variant else uid


def reason(error: BaseException) -> str:
    """Return an error as one line.

    Raises:
        OSError, UnavailableError: the disk is full or something is not installed, which concerns the run and not the object.
    """
    if isinstance(error, UnavailableError):
        raise error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            raise cause
        cause = cause.__cause__
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def make_clip(opened: OpenedAsset, motion: Motion, window: Window, recipe: Recipe, variant: int = 0) -> Clip | float:
    """Render one clip, or return the measure of its motion if that is too small."""
    asset, static, mesh = opened.asset, opened.is_static, motion.mesh
    name = variant_name(asset.uid, variant)
    rng = recipe.rng(name, motion.index or 0, window.index)
    poses, placement = pose_clip(mesh, window.seconds)
    moved = motion_measure([placement.apply(p) for p, _ in poses], mesh.surface.faces, recipe.fps)
    if moved < recipe.motion and not static:
        return moved
    lens = random_lens(rng) if recipe.lens == "random" else Lens()
    rig = make_rig(recipe.rig, recipe.frames, recipe.size, recipe.views, lens, rng)
    lights = random_rig(rng) if recipe.lights == "random" else Lights()
    shot = Shot(mesh, opened.path, motion.index, window.seconds, poses, placement, rig, lights, recipe.samples, recipe.geometry)
    frames, geometry = renderer(recipe.renderer)(shot)
    facts: dict[str, Any] = {
        "uid": asset.uid,
        "file": opened.path.name if opened.path else asset.file,
        "sha256": opened.digest,
        "animation": motion.name,
        "animation_index": motion.index,
        "window": window.index,
        "licence": licence_family(asset.licence) or asset.licence,
        "licence_stated": asset.licence,
        "author": asset.author,
        "source": asset.source,
        "attribution": asset.attribution,
        "repairs": list(motion.repairs),
        "variant": variant,
        "static": static,
        "motion": round(moved, 6),
        "fps": recipe.fps,
        "rig": recipe.rig,
        "radius": lens.radius,
        "fovy": lens.fovy,
        "lights": plain(lights),
        "placement": {"center": placement.center.tolist(), "scale": float(placement.scale)},
        "renderer": recipe.renderer,
        "samples": recipe.samples,
        "made_by": f"chronosplat {chronosplat.__version__}",
    }
    return Clip(
        key=clip_key(name, motion.index or 0, window.index),
        viewmats=rig.viewmats[0].numpy() if rig.is_constant else rig.viewmats.numpy(),
        Ks=rig.Ks.numpy(),
        width=recipe.size,
        height=recipe.size,
        seconds=window.seconds,
        groups=rig.groups,
        facts=facts,
        frames=frames,
        geometry=geometry,
    )


def clip_key(uid: str, animation: int, window: int) -> str:
    """Return a clip's key UID-ANIMATION-WINDOW; a uid that a key cannot spell is shortened and gets its hash."""
    slug = re.sub(r"[^a-z0-9]+", "_", uid.lower()).strip("_")[:SLUG_MOST]
    exact = slug == uid
    return f"{slug if exact else f'{slug}_{hashlib.sha256(uid.encode()).hexdigest()[:8]}'}-{animation:03d}-{window:04d}"


def plain(value: Any) -> Any:
    """Return numbers, arrays and dataclasses as plain JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(inner) for name, inner in asdict(value).items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value
