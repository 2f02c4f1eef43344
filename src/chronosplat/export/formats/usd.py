"""OpenUSD with ``ParticleField3DGaussianSplat`` (OpenUSD 26.03), the only standard that animates splats.

The prim ``/Scene/Splats`` has the values of the first frame as defaults, for readers without time, and all frames as time
samples. Time codes count frames from zero: ``timeCodesPerSecond`` is the mean rate of the frames. OpenUSD interpolates between samples
of equal length, so frames that have nothing in common but their length get one invisible Gaussian more, every other time.

Radiance is degree 0: (colour - 0.5) / 0.28209479. The specification does not name its colour space; files of the 3DGS
ecosystem hold sRGB, NVIDIA's documents expect linear colours. The attribute's ``colorSpace`` says which one it is.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chronosplat.assets.mesh import to_linear, to_srgb
from chronosplat.cameras import Similarity
from chronosplat.events import Events, info
from chronosplat.export.coordinates import UPS, placed, world_of
from chronosplat.export.frame_files import FrameFiles
from chronosplat.export.glb_scene import joined, transformed
from chronosplat.export.packing import SH_C0
from chronosplat.export.registry import Format, Frames, Job, register
from chronosplat.scenes import Gaussians3D, Scene, normalize
from chronosplat.shapes import InputError, UnavailableError

SUFFIXES = (".usdc", ".usda", ".usd")
SCHEMA = "ParticleField3DGaussianSplat"
SRGB, LINEAR = "srgb_rec709_scene", "lin_rec709_scene"
RADIANCE, DEGREE = "radiance:sphericalHarmonicsCoefficients", "radiance:sphericalHarmonicsDegree"
SMALLEST = 1e-12  # of a scale, which has to be positive
SIGMAS = 3.0  # from a mean to the edge of the extent
FPS = 24.0  # of a single frame
SAVE_EVERY = 8  # frames; values that are saved leave the memory
PATIENCE = 600.0  # seconds in which a file is read for the first time
# OpenUSD ends the process on some damaged files, so a process of its own makes all calls of read() first, in the same order.
# Errors that Python can report are left to read().
PROBE = """
import sys
try:
    from pxr import Sdf, Usd, UsdGeom
    layer = Sdf.Layer.OpenAsAnonymous(sys.argv[1])
    layer.GetCompositionAssetDependencies()
    stage = Usd.Stage.Open(layer)
    prims = [prim for prim in stage.Traverse() if prim.GetTypeName()]
    stage.GetTimeCodesPerSecond(), UsdGeom.GetStageUpAxis(stage), stage.GetDefaultPrim().GetCustomData()
    for prim in prims:
        for attribute in prim.GetAttributes():
            attribute.HasAuthoredValue(), attribute.GetColorSpace(), attribute.Get()
            for code in attribute.GetTimeSamples():
                attribute.Get(code), UsdGeom.XformCache(code).GetLocalToWorldTransform(prim)
except Exception:
    pass
"""


@dataclass(frozen=True)
class UsdOptions:
    """Options of OpenUSD."""

    linear: bool = False
    """Write linear colours instead of sRGB, for renderers that take radiance as linear (NVIDIA Omniverse)."""


def _pxr() -> Any:
    """The modules of OpenUSD.

    Raises:
        UnavailableError: not installed, or older than the schema.
    """
    try:
        from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdVol, Vt
    except ImportError as error:
        raise UnavailableError("usd: usd-core is not installed", "run: pip install 'chronosplat[usd]'") from error
    if not hasattr(UsdVol, SCHEMA):
        raise UnavailableError(f"usd: this OpenUSD has no {SCHEMA}", "run: pip install 'usd-core>=26.3'")

    class Modules:
        gf, sdf, tf, usd, geom, vol, vt = Gf, Sdf, Tf, Usd, UsdGeom, UsdVol, Vt

    return Modules


def write(frames: Frames, path: Path, job: Job) -> None:
    """Write frames as they are computed."""
    pxr, options = _pxr(), job.options
    stage = pxr.usd.Stage.CreateNew(str(path))
    axis = pxr.geom.Tokens.z if torch.allclose(job.world.rotation, UPS["z"]) else pxr.geom.Tokens.y
    pxr.geom.SetStageUpAxis(stage, axis)
    pxr.geom.SetStageMetersPerUnit(stage, 1.0)
    root = pxr.geom.Xform.Define(stage, "/Scene").GetPrim()
    root.SetCustomDataByKey("chronosplat:world", pxr.vt.DoubleArray(job.world.matrix().flatten().tolist()))
    root.SetCustomDataByKey("chronosplat:firstSecond", float(frames.times[0]))
    stage.SetDefaultPrim(root)
    splats = pxr.vol.ParticleField3DGaussianSplat.Define(stage, "/Scene/Splats")
    splats.CreateRadianceSphericalHarmonicsDegreeAttr(0)
    splats.GetPrim().GetAttribute(RADIANCE).SetColorSpace(LINEAR if options.linear else SRGB)
    radiance = pxr.geom.Primvar(splats.GetPrim().GetAttribute(RADIANCE))
    radiance.SetInterpolation(pxr.geom.Tokens.vertex)
    radiance.SetElementSize(1)

    codes = _start_clock(stage, frames.times)
    unrelated = (frames.scene.num_frames or 1) > 1
    before = -1
    for index, gaussians in enumerate(frames):
        gaussians = gaussians.to("cpu", torch.float32).map(torch.Tensor.detach)
        gaussians = _with_invisible(gaussians) if len(gaussians.means) == (before if unrelated else 0) else gaussians
        before = len(gaussians.means)
        values = _values(pxr, gaussians, options.linear)
        for name, value in values.items():
            attribute = splats.GetPrim().GetAttribute(name)
            if index == 0:
                attribute.Set(value)
            if len(frames) > 1:
                attribute.Set(value, codes[index])
        if index % SAVE_EVERY == SAVE_EVERY - 1:
            stage.GetRootLayer().Save()
        job.events.progress(f"writing {path.suffix}", index + 1, len(frames))
    stage.GetRootLayer().Save()


def _start_clock(stage: Any, times: tuple[float, ...]) -> list[float]:
    """Set the stage's times, and return the time code of each frame: 0, 1, 2, ... where frames are evenly spaced."""
    first, last = times[0], times[-1]
    rate = (len(times) - 1) / (last - first) if last > first else FPS
    codes = [round((seconds - first) * rate, 6) for seconds in times]
    stage.SetTimeCodesPerSecond(rate)
    stage.SetFramesPerSecond(rate)
    stage.SetStartTimeCode(codes[0])
    stage.SetEndTimeCode(codes[-1])
    return codes


def _with_invisible(gaussians: Gaussians3D) -> Gaussians3D:
    """Add an invisible Gaussian; in the middle of the others, so that no extent grows."""
    middle = gaussians.means.mean(0, keepdim=True) if len(gaussians.means) else gaussians.means.new_zeros(1, 3)
    turn, half = torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), 0.5)
    return joined([gaussians, Gaussians3D(middle, turn, half * 1e-6, torch.zeros(1), half)])


def _values(pxr: Any, g: Gaussians3D, linear: bool) -> dict[str, Any]:
    """The attributes of one set of Gaussians."""
    colors = to_linear(g.colors.clamp(0, 1).numpy()) if linear else g.colors.numpy()
    scales, quats = g.scales.clamp_min(SMALLEST).contiguous().numpy(), normalize(g.quats)
    reach = SIGMAS * g.scales.amax(1, keepdim=True)
    bounds = torch.stack([(g.means - reach).amin(0), (g.means + reach).amax(0)]) if len(g.means) else torch.zeros(2, 3)
    vectors = lambda values: pxr.vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))
    return {
        "positions": vectors(g.means.numpy()),
        "orientations": pxr.vt.QuatfArray.FromNumpy(np.ascontiguousarray(quats[:, [1, 2, 3, 0]].numpy())),  # memory order xyzw
        "scales": vectors(scales),
        "opacities": pxr.vt.FloatArray.FromNumpy(np.ascontiguousarray(g.opacities.clamp(0, 1).numpy())),
        RADIANCE: vectors((colors - 0.5) / SH_C0),
        "extent": vectors(bounds.numpy()),
    }


def read(path: Path, events: Events) -> Scene:
    """Read the splats of a stage; their time samples give the times.

    Raises:
        InputError: not a stage, damaged, one that needs other files, or one without splats.
        UnavailableError: usd-core is not installed.
    """
    pxr = _pxr()
    _probe(path)
    with _refused(path, pxr):
        layer = pxr.sdf.Layer.OpenAsAnonymous(str(path))
        if layer is None:
            raise InputError(f"{path}: not an OpenUSD file")
        if layer.GetCompositionAssetDependencies():
            raise InputError(f"{path}: refers to other files; flatten it first, for example with usdcat")
        stage = pxr.usd.Stage.Open(layer)
        prims = [prim for prim in stage.Traverse() if prim.GetTypeName() == SCHEMA]
        if not prims:
            raise InputError(f"{path}: holds no {SCHEMA}")
        names = [prim.GetPath() for prim in prims]
        codes = sorted({code for prim in prims for name in (*_NAMES, RADIANCE) for code in _attribute(prim, name).GetTimeSamples()})
        rate = stage.GetTimeCodesPerSecond()
        world, first = _world(pxr, stage), _first_second(stage)
        if any((prim.GetAttribute(DEGREE).Get() or 0) > 0 for prim in prims):
            events.notice(info("harmonics", f"{path}: colours that depend on the viewing direction are left out (degree 0 is kept)"))
    if not 0 < rate < np.inf:
        raise InputError(f"{path}: timeCodesPerSecond is {rate}")
    times = [pxr.usd.TimeCode(code) for code in codes] or [pxr.usd.TimeCode.Default()]

    def frame(index: int) -> Gaussians3D:
        with _refused(path, pxr):
            cache = pxr.geom.XformCache(times[index])
            now = [stage.GetPrimAtPath(name) for name in names]  # through the stage, which lives as long as this function
            parts = [_gaussians(prim, times[index], np.array(cache.GetLocalToWorldTransform(prim)).T, path) for prim in now]
        return placed(joined(parts), world)  # pyright: ignore[reportReturnType]

    most = max(frame(index).num_gaussians for index in range(len(times)))
    if len(times) == 1:
        return frame(0)
    return FrameFiles(tuple(range(len(times))), tuple(first + code / rate for code in codes), most, frame, world)


def _probe(path: Path) -> None:
    """Refuse a file that makes OpenUSD end the process."""
    try:
        done = subprocess.run([sys.executable, "-c", PROBE, str(path)], capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path}: OpenUSD did not read it in {PATIENCE:g} s") from error
    if done.returncode:
        raise InputError(f"{path}: damaged: OpenUSD breaks off when it reads this file")


_NAMES = ("positions", "orientations", "scales", "opacities")


def _attribute(prim: Any, name: str) -> Any:
    """The attribute in single precision, or, where only that is written, in half precision."""
    full, half = prim.GetAttribute(name), prim.GetAttribute(f"{name}h")
    return half if half and half.HasAuthoredValue() and not full.HasAuthoredValue() else full


def _world(pxr: Any, stage: Any) -> Similarity:
    """The world that our writer noted, or else the rotation of the up axis."""
    root = stage.GetDefaultPrim()
    noted = root.GetCustomDataByKey("chronosplat:world") if root else None
    own = world_of([float(value) for value in noted]) if noted is not None else None
    return own or Similarity(rotation=UPS["z" if pxr.geom.GetStageUpAxis(stage) == pxr.geom.Tokens.z else "y"])


def _first_second(stage: Any) -> float:
    """The second of time code zero that our writer noted; zero in other files."""
    root = stage.GetDefaultPrim()
    noted = root.GetCustomDataByKey("chronosplat:firstSecond") if root else None
    return noted if isinstance(noted, float) and np.isfinite(noted) else 0.0


def _gaussians(prim: Any, time: Any, matrix: Any, path: Path) -> Gaussians3D:
    """The Gaussians of a prim at a time, in the stage's coordinates."""

    def take(name: str, width: int) -> torch.Tensor:
        attribute = _attribute(prim, name)
        value = attribute.Get(time)
        table = np.array(value if value is not None else (), np.float32).reshape(-1, width)
        if not np.isfinite(table).all():
            raise InputError(f"{path}: damaged: {name} holds NaN or infinities")
        return torch.from_numpy(table)

    means, quats, scales, opacities = (take(name, width) for name, width in zip(_NAMES, (3, 4, 3, 1), strict=True))
    step = ((prim.GetAttribute(DEGREE).Get(time) or 0) + 1) ** 2
    harmonics = take(RADIANCE, 3)
    if not 1 <= step <= 16 or len(harmonics) != step * len(means):
        raise InputError(f"{path}: damaged: {len(harmonics)} radiance coefficients for {len(means)} Gaussians of degree {step**0.5 - 1:g}")
    if not len(means) == len(quats) == len(scales) == len(opacities):
        raise InputError(f"{path}: damaged: attributes of different lengths in {prim.GetPath()}")
    if bool(((opacities < 0) | (opacities > 1)).any()) or bool((scales < 0).any()):
        raise InputError(f"{path}: damaged: opacities outside [0, 1], or negative scales")
    colors = harmonics[::step] * SH_C0 + 0.5
    if str(_attribute(prim, RADIANCE).GetColorSpace()).startswith("lin_"):
        colors = torch.from_numpy(to_srgb(colors.numpy()))
    return transformed(Gaussians3D(means, normalize(quats[:, [3, 0, 1, 2]]), scales.clamp_min(SMALLEST), opacities[:, 0], colors), matrix)


@contextmanager
def _refused(path: Path, pxr: Any) -> Iterator[None]:
    """Whatever OpenUSD finds wrong is the file's fault."""
    try:
        yield
    except InputError:
        raise
    except (pxr.tf.ErrorException, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: damaged, or not an OpenUSD file ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    """The first line of a message, which may quote bytes of the file."""
    try:
        return str(error).strip().splitlines()[0]
    except (UnicodeDecodeError, IndexError):
        return type(error).__name__


register(
    *(
        Format(suffix, f"OpenUSD {SCHEMA} with time samples; extra usd", "frames", write, read, UsdOptions, "usd", up="y")
        for suffix in SUFFIXES
    )
)
