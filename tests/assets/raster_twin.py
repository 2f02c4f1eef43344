"""A slow, readable rasteriser in float64: the judge of native/mesh.cpp.

Every face is tested at every sample. What is visible of a face in a pixel is shaded once, at the mean of its samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets.lights import Lights
from chronosplat.assets.mesh import Material, Surface, Texture, to_linear, to_srgb
from chronosplat.assets.prepared import mip_chain
from chronosplat.assets.raster import NEAR_PLANE
from chronosplat.cameras import Cameras

Array = NDArray[np.float64]
SLOTS = ("texture", "emissive_texture", "surface_texture", "normal_texture", "occlusion_texture")


@dataclass
class Scene:
    """What is rendered, in float64; the first camera is used."""

    surface: Surface
    positions: Array
    normals: Array
    cameras: Cameras
    lights: Lights
    samples: int

    def __post_init__(self) -> None:
        self.viewmat = self.cameras.viewmats[0].double().numpy()
        self.K = self.cameras.Ks[0].double().numpy()
        self.eye = -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]
        self.uvs = self.surface.uvs.astype(float).reshape(len(self.positions), -1, 2)
        self.tangents = tangents(self)
        transparent = {m.texture for m in self.surface.materials if m.alpha_mode}
        self.mips = [mip_chain(t, i in transparent) for i, t in enumerate(self.surface.textures)]

    def material(self, face: int) -> Material:
        return self.surface.materials[self.surface.face_materials[face]]

    def weights(self, face: int, pixels: Array) -> tuple[Array, Array]:
        """Weights [N, 3] of the corners at positions [N, 2] in pixels, and the depth [N]; depth <= 0 behind the camera."""
        local = self.positions[self.surface.faces[face]] @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]
        corners = local @ self.K.T  # rows are z (x, y, 1)
        if abs(np.linalg.det(corners)) < 1e-12:
            return np.full((len(pixels), 3), -1.0), np.full(len(pixels), -1.0)
        w = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ np.linalg.inv(corners)  # weights divided by depth
        depth = 1 / w.sum(1)
        return w * depth[:, None], depth


def dot(a: Array, b: Array) -> float:
    return float(np.dot(a, b))


def unit(v: Array) -> Array:
    length = np.linalg.norm(v)
    return v / length if length > 1e-20 else np.zeros_like(v)


def tangents(scene: Scene) -> Array:
    """Tangents [P, 2, 3] by MikkTSpace's rule, for faces with upright and with mirrored texture."""
    out = np.zeros((len(scene.positions), 2, 3))
    for face, v in enumerate(scene.surface.faces):
        m = scene.material(face)
        if m.normal_texture < 0:
            continue
        (p, q, r), uv = scene.positions[v], scene.uvs[v, m.uv_sets[3]]
        (u1, v1), (u2, v2) = uv[1] - uv[0], uv[2] - uv[0]
        area = u1 * v2 - u2 * v1
        along = unit((v2 * (q - p) - v1 * (r - p)) * (1 if area > 0 else -1))
        for corner in range(3):
            n = unit(scene.normals[v[corner]])
            flat = lambda x, n=n: unit(x - dot(x, n) * n)
            here, others = scene.positions[v[corner]], [scene.positions[v[(corner + k) % 3]] for k in (1, 2)]
            a, b = (flat(other - here) for other in others)
            out[v[corner], int(area > 0)] += np.arccos(np.clip(dot(a, b), -1, 1)) * flat(along)
    return out


def lookup(texture: Texture, level: Array, uv: Array) -> Array:
    """Bilinear value [4] of one level."""
    height, width = level.shape[:2]

    def place(u: float, wrap: int, n: int) -> tuple[list[int], float]:
        u = u % 1 if wrap == 0 else np.clip(u, 0, 1) if wrap == 1 else 1 - abs(u % 2 - 1)
        low = int(np.floor(u * n - 0.5))
        both = [low, low + 1]
        return [k % n if wrap == 0 else min(max(k, 0), n - 1) for k in both], u * n - 0.5 - low

    (x0, x1), fx = place(uv[0], texture.wrap[0], width)
    (y0, y1), fy = place(uv[1], texture.wrap[1], height)
    texels = level[[y0, y0, y1, y1], [x0, x1, x0, x1]].astype(float) / 255
    if texture.srgb:
        texels[:, :3] = to_linear(texels[:, :3])
    return np.array([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]) @ texels


def slot(scene: Scene, face: int, which: int, pixel: Array, footprint: float) -> Array:
    """A texture [4] of a face at a pixel position, over a footprint in pixels; 0 reads the full size."""
    m = scene.material(face)
    index = getattr(m, SLOTS[which])
    if index < 0:
        return np.ones(4)
    corners = scene.uvs[scene.surface.faces[face], m.uv_sets[which]]
    step = 1e-4
    uv, right, below = scene.weights(face, np.array([pixel, pixel + (step, 0), pixel + (0, step)]))[0] @ corners
    texture, levels = scene.surface.textures[index], scene.mips[index]
    if footprint == 0:
        return lookup(texture, levels[0], uv)
    size = np.array(levels[0].shape[1::-1])
    steps = np.array([right - uv, below - uv]) / step * footprint  # of (u, v) across the footprint
    lengths = np.linalg.norm(steps * size, axis=1)
    longest = lengths.max()
    if longest <= 1:
        return lookup(texture, levels[0], uv)
    width = max(abs(np.linalg.det(steps * size)), 1) / longest
    taps = int(min(longest / width + 0.75, 4)) if texture.srgb else 1
    places = [uv + steps[lengths.argmax()] * ((k + 0.5) / taps - 0.5) for k in range(taps)]
    at = min(max(np.log2(longest / taps) - 0.5, 0), len(levels) - 1)
    low = min(int(at), len(levels) - 1)
    high = min(low + 1, len(levels) - 1)
    return np.mean([(1 - at + low) * lookup(texture, levels[low], p) + (at - low) * lookup(texture, levels[high], p) for p in places], 0)


def base_color(scene: Scene, face: int, pixel: Array, footprint: float) -> Array:
    w = scene.weights(face, pixel[None])[0][0]
    vertex = w @ scene.surface.colors[scene.surface.faces[face]].astype(float)
    return vertex * scene.material(face).base * slot(scene, face, 0, pixel, footprint)


def sky(lights: Lights) -> tuple[Array, Array]:
    """Radiance from above and from below."""
    return lights.ambient + np.array(lights.sky), lights.ambient + np.array(lights.ground)


def shading_normal(scene: Scene, face: int, pixel: Array) -> tuple[Array, float, float]:
    """The normal under the normal map, the shortening of the map's normals, and the sign that turns normals to the eye."""
    m, v = scene.material(face), scene.surface.faces[face]
    w = scene.weights(face, pixel[None])[0][0]
    n = unit(w @ scene.normals[v])
    a, b, c = scene.positions[v]
    flat = np.cross(b - a, c - a)
    sign = -1.0 if dot(flat, n) * dot(flat, scene.eye - a) < 0 else 1.0
    if m.normal_texture < 0:
        return n, 0.0, sign
    uv = scene.uvs[v, m.uv_sets[3]]
    mirrored = int(np.linalg.det([uv[1] - uv[0], uv[2] - uv[0]]) > 0)
    t = w @ np.array([unit(x) for x in scene.tangents[v, mirrored]])
    t = unit(t - dot(t, n) * n)
    x, y, z = 2 * slot(scene, face, 3, pixel, 1.0)[:3] - 1
    length = float(np.linalg.norm((x, y, z)))
    bent = unit(m.normal_scale * x * t + m.normal_scale * (-y if mirrored else y) * np.cross(n, t) + z * n)
    return bent, (0.99 - length) / length if 0.3 < length < 0.99 else 0.0, sign


def shade(scene: Scene, face: int, pixel: Array) -> Array:
    """Metallic-roughness colour and opacity [4] of a face at a pixel position."""
    m, v, lights = scene.material(face), scene.surface.faces[face], scene.lights
    color = base_color(scene, face, pixel, 1.0)
    emission = np.array(m.emissive) * slot(scene, face, 1, pixel, 1.0)[:3]
    opacity = np.clip(color[3], 0, 1) if m.alpha_mode == 2 else 1.0
    if m.unlit:
        return np.array([*np.clip(color[:3] + emission, 0, 1), opacity])
    n, spread, sign = shading_normal(scene, face, pixel)
    n = n * sign
    step = 1e-4
    w = scene.weights(face, np.array([pixel, pixel + (step, 0), pixel + (0, step)]))[0]
    view = unit(scene.eye - w[0] @ scene.positions[v])
    surface = slot(scene, face, 2, pixel, 1.0)
    metallic, roughness = np.clip(m.metallic * surface[2], 0, 1), max(np.clip(m.roughness * surface[1], 0, 1), 0.05)
    curved = (w[1:] - w[0]) @ scene.normals[v] / step
    alpha2 = min(roughness**4 + min(2 * (spread + 0.25 * (curved**2).sum()), 0.18), 1.0)
    nv = max(dot(n, view), 1e-3)
    diffuse = color[:3] * (1 - metallic)
    f0 = np.array(m.specular) * (1 - metallic) + metallic * color[:3]
    above, below = sky(lights)
    r = np.array([1 - roughness, 0.0425 - 0.0275 * roughness, 1.04 - 0.572 * roughness, 0.022 * roughness - 0.04])
    bend = min(r[0] ** 2, 2 ** (-9.28 * nv)) * r[0] + r[1]
    gain = 1 + f0 * (1 / (r[2] + r[3]) - 1)
    reflected = gain * (f0 * (r[2] - 1.04 * bend) + r[3] + 1.04 * bend)
    mirror = 2 * nv * n[1] - view[1]
    shadow = 1 + m.occlusion * (slot(scene, face, 4, pixel, 1.0)[0] - 1)
    middle, tilt = (above + below) / 2, (above - below) / 2
    out = (1 - reflected) * diffuse * (middle + 2 / 3 * tilt * n[1])
    out = shadow * (out + reflected * (middle + tilt * (1 - np.sqrt(alpha2) / 3) * mirror))
    for direction, energy in zip(lights.directions.astype(float), lights.colors.astype(float), strict=True):
        nl = dot(n, direction)
        if nl <= 0:
            continue
        half = unit(direction + view)
        distribution = alpha2 / (np.pi * (dot(n, half) ** 2 * (alpha2 - 1) + 1) ** 2)  # GGX
        smith = nl * np.sqrt(nv**2 * (1 - alpha2) + alpha2) + nv * np.sqrt(nl**2 * (1 - alpha2) + alpha2)
        fresnel = f0 + (1 - f0) * (1 - np.clip(dot(view, half), 0, 1)) ** 5
        irradiance = np.pi * energy * nl
        out = out + irradiance * ((1 - fresnel) * diffuse / np.pi + fresnel * gain * distribution * 0.5 / smith)
    return np.array([*np.clip(out + emission, 0, 1), opacity])


@dataclass
class TwinImages:
    """Images of the twin: straight sRGB and alpha in [0, 1], depth, normals and parts."""

    rgba: Array
    depth: Array
    normals: Array
    parts: NDArray[np.int64]


def render(scene: Scene) -> TwinImages:
    """Render with metallic-roughness shading."""
    S, W, H = scene.samples, scene.cameras.width, scene.cameras.height
    ys, xs = np.mgrid[: H * S, : W * S]
    at = np.stack([xs.ravel() + 0.5, ys.ravel() + 0.5], 1) / S
    pixel = (ys // S * W + xs // S).ravel()
    hits = [visible(scene, face, at) for face in range(len(scene.surface.faces))]
    inside, depths = np.array([h[0] for h in hits]), np.array([h[1] for h in hits])  # [M, samples]
    blended = np.array([scene.material(face).alpha_mode == 2 for face in range(len(hits))])
    solid = np.where(inside & ~blended[:, None], depths, np.inf)
    nearest = solid.min(0)
    front = (solid == nearest) & np.isfinite(nearest)
    front &= np.cumsum(front, 0) == 1  # the first of equal ones
    shown = np.where(blended[:, None], inside & (depths < nearest), front)
    out = TwinImages(np.zeros((H * W, 4)), np.zeros(H * W), np.zeros((H * W, 3)), np.full(H * W, -1))
    for k in np.unique(pixel[shown.any(0)]):
        resolve(scene, out, int(k), shown[:, pixel == k], depths[:, pixel == k], at[pixel == k])
    return TwinImages(
        out.rgba.reshape(H, W, 4), out.depth.reshape(H, W), out.normals.reshape(H, W, 3), out.parts.reshape(H, W)
    )  # fmt: skip


def visible(scene: Scene, face: int, at: Array) -> tuple[NDArray[np.bool_], Array]:
    """Where a face covers samples [N, 2], and its depth there, whatever is in front of it."""
    m = scene.material(face)
    w, depth = scene.weights(face, at)
    inside = (w >= 0).all(1) & (depth > NEAR_PLANE)
    a, b, c = scene.positions[scene.surface.faces[face]]
    if dot(np.cross(b - a, c - a), scene.eye - a) < 0 and not m.two_sided:
        inside[:] = False
    if m.alpha_mode == 1:
        for k in np.flatnonzero(inside):
            inside[k] = base_color(scene, face, at[k], 1 / scene.samples)[3] >= m.cutoff - 1e-6
    return inside, depth


def resolve(scene: Scene, out: TwinImages, pixel: int, shown: NDArray[np.bool_], depths: Array, at: Array) -> None:
    """Fill one pixel from what its samples [M, S * S] show."""
    faces = np.flatnonzero(shown.any(1))
    centers = {f: at[shown[f]].mean(0) for f in faces}
    colors = {f: shade(scene, f, centers[f]) for f in faces}
    weight = dict.fromkeys(faces, 0.0)
    for sample in range(shown.shape[1]):
        through = 1.0
        for f in sorted(np.flatnonzero(shown[:, sample]), key=lambda f: (depths[f, sample], f)):
            weight[f] += through * colors[f][3]
            through *= 1 - colors[f][3]
    total = sum(weight.values())
    if total / shown.shape[1] < 0.5 / 255:
        return
    mean = sum(weight[f] * colors[f][:3] for f in faces) / total
    out.rgba[pixel] = [*to_srgb(mean), total / shown.shape[1]]
    out.depth[pixel] = sum(weight[f] * scene.weights(f, centers[f][None])[1][0] for f in faces) / total
    turned = {f: plain_normal(scene, f, centers[f]) for f in faces}
    out.normals[pixel] = unit(sum(weight[f] * turned[f] for f in faces))
    parts = scene.surface.face_parts if scene.surface.face_parts is not None else np.zeros(len(shown), int)
    shares = {int(parts[f]): sum(weight[g] for g in faces if parts[g] == parts[f]) for f in faces}
    out.parts[pixel] = min(shares, key=lambda part: (-shares[part], part))


def plain_normal(scene: Scene, face: int, pixel: Array) -> Array:
    """The interpolated unit normal on the side of the eye."""
    w = scene.weights(face, pixel[None])[0][0]
    return shading_normal(scene, face, pixel)[2] * unit(w @ scene.normals[scene.surface.faces[face]])
