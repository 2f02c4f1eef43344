"""The frames of one static camera, in the units of a body: pixels at the object's distance (motion.py)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity
from chronosplat.captures import Views, normalizing_similarity
from chronosplat.captures.views import resize_straight
from chronosplat.refine.solid.grids import blur, dilate, erode
from chronosplat.render import RasterInputs, rasterize
from chronosplat.shapes import InputError

WHITE = 0.97  # colours at least this bright may be enclosed background
MOST_LOST = 0.15  # of the object that is removed as such
LEAST_PIXELS = 16  # of a silhouette
INNER = 0.97  # mean alpha of a pixel's neighbourhood, from which on it shows no background
CONTRAST = 0.1  # least squared difference to white of a colour whose share can be told
SAME_CAMERA = 1e-4  # largest difference between the poses of a static camera, and relative between its intrinsics


@dataclass(frozen=True)
class Frames:
    """M frames that show an object, of one static camera.

    Attributes:
        images: [M, H, W, 3] straight colours. alphas: [M, H, W]. masks: [M, H, W] bool, silhouettes that keep thin parts whole.
        given: [M, H, W, 3] the frames on white, as they came. seconds: [M] float64, increasing.
        K: [3, 3] intrinsics. world: from the body's coordinates to the capture's world.
        empty: number of frames without an object, which are left out.
    """

    images: Tensor
    alphas: Tensor
    masks: Tensor
    given: Tensor
    seconds: Tensor
    K: Tensor
    world: Similarity
    empty: int

    def __len__(self) -> int:
        return len(self.images)

    def at_most(self, size: int) -> Frames:
        """Resize to at most ``size`` pixels on the longer side."""
        factor = max(self.masks.shape[1:]) / size
        height, width = (round(side / factor) for side in self.masks.shape[1:])
        return self if factor <= 1 else self.resized(width, height)

    @cached_property
    def on_white(self) -> Tensor:
        """[M, H, W, 3]."""
        return self.images * self.alphas[..., None] + 1 - self.alphas[..., None]

    @property
    def focal(self) -> float:
        """Horizontal focal length in pixels, the camera's distance."""
        return float(self.K[0, 0])

    def resized(self, width: int, height: int) -> Frames:
        """Resize to another size; the object's distance in pixels changes with it."""
        cameras = Cameras(torch.eye(4)[None], self.K[None], *reversed(self.masks.shape[1:])).resized(width, height)
        images, alphas = resize_straight(self.images, self.alphas[..., None], width, height)
        given, shapes = resize_straight(self.given, self.masks[..., None].float(), width, height)
        given = given * shapes + 1 - shapes
        world = replace(self.world, scale=self.world.scale * self.focal / float(cameras.Ks[0, 0, 0]))
        return replace(self, images=images, alphas=alphas[..., 0], masks=shapes[..., 0] > 0.5, given=given, K=cameras.Ks[0], world=world)

    def place(self, uvz: Tensor) -> Tensor:
        """Convert pixel coordinates and depths [N, 3] to the body's coordinates."""
        x, y = self.plane(uvz[:, :2]).unbind(1)
        toward = 1 + uvz[:, 2] / self.focal
        return torch.stack([x * toward, y * toward, uvz[:, 2]], -1)

    def plane(self, uv: Tensor) -> Tensor:
        """Convert pixel coordinates [P, 2] to x and y on the plane at the object's distance."""
        return (uv - self.K[:2, 2]) * self.focal / torch.stack([self.K[0, 0], self.K[1, 1]])

    def project(self, points: Tensor) -> Tensor:
        """Convert the body's coordinates [..., 3] to pixel coordinates [..., 2]."""
        return points[..., :2] / (points[..., 2:] + self.focal) * torch.stack([self.K[0, 0], self.K[1, 1]]) + self.K[:2, 2]

    def render(self, means: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor) -> tuple[Tensor, Tensor]:
        """Render round splats from the camera: colours [V, H, W, 3] on white and alpha [V, H, W].

        Args:
            means: [V, N, 3]. scales, opacities: [N] or [V, N]. colors: [N, 3] or [V, N, 3].
        """
        count, points, _ = means.shape
        height, width = self.alphas.shape[1:]
        pose = torch.eye(4)
        pose[2, 3] = self.focal
        out = rasterize(
            RasterInputs(
                means=means,
                quats=torch.tensor([1.0, 0, 0, 0]).expand(count, points, 4),
                scales=scales.expand(count, points)[..., None].expand(count, points, 3),
                opacities=opacities.expand(count, points),
                colors=colors.expand(count, points, 3),
                viewmats=pose.expand(count, 1, 4, 4),
                Ks=self.K.expand(count, 1, 3, 3),
                width=width,
                height=height,
            )
        )
        return out.rgb[:, 0] + 1 - out.alpha[:, 0], out.alpha[:, 0, ..., 0]


def read_frames(views: Views) -> Frames:
    """Check the views of one static camera and drop frames without an object.

    Raises:
        InputError: cameras differ, two frames have the same time, nothing is transparent, or no frame shows an object.
    """
    cameras = views.cameras
    _check_static(views)
    alphas = views.alphas[..., 0].float().clone()
    kept = (alphas > 0.5).flatten(1).sum(1) >= LEAST_PIXELS
    if not bool(kept.any()):
        raise InputError("views: no frame shows an object; check the alphas")
    if not bool((alphas < 0.5).any()):
        raise InputError("views: the object has no outline, alpha is above 0.5 everywhere; remove the background")
    order = torch.argsort(views.times)
    order = order[kept[order]]
    seconds = views.times[order].double()
    if len(seconds) > 1 and not bool((seconds.diff() > 0).all()):
        raise InputError("views: two frames have the same time; give one frame per time")
    K = cameras.Ks[0].float()
    R, t = cameras.viewmats[0, :3, :3].double(), cameras.viewmats[0, :3, 3].double()
    center = normalizing_similarity(cameras[:1], views.up).translation
    ahead = float((R @ center + t)[2])
    to_camera = torch.tensor([0.0, 0.0, ahead], dtype=torch.float64)
    world = Similarity(ahead / float(K[0, 0]), R.T, R.T @ (to_camera - t))
    images, given = views.images[order].float(), views.on_white()[order].float()
    alphas = without_holes(images, alphas[order])
    masks = alphas > 0.5
    parts = [decontaminate(*frame) for frame in zip(images, alphas, strict=True)]
    images, alphas = (torch.stack(part) for part in zip(*parts, strict=True))
    return Frames(images, alphas, masks, given, seconds, K, world, int((~kept).sum()))


def without_holes(images: Tensor, alphas: Tensor) -> Tensor:
    """Remove enclosed pure white, which mattes of white backgrounds keep, from alphas [M, H, W]."""
    on_white = images * alphas[..., None] + 1 - alphas[..., None]
    white = (on_white.amin(-1) > WHITE).float()
    holes = dilate(erode(white)) * white
    solid = (alphas > 0.5).float()
    lost = float((holes * solid).sum() / solid.sum())
    return alphas * (1 - holes) if 0 < lost < MOST_LOST else alphas


def decontaminate(image: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Separate the outline's pixels of an image [H, W, 3] from white background that the matte [H, W] left in them.

    Their colour is continued from inside, and their alpha is what makes them look the same on white.
    """
    inner = F.avg_pool2d(F.pad(alpha, (1, 1, 1, 1))[None, None], 3, 1)[0, 0] > INNER
    trust = (inner.float() + 1e-3 * alpha) * (alpha > 0.5)
    colors = torch.where(inner[..., None], image, blur(image, trust, 1.0))
    dark, missing = 1 - colors, alpha[..., None] * (1 - image)
    strength = dark.square().sum(-1)
    found = (dark * missing).sum(-1) / strength.clamp_min(1e-3)
    sure = ~inner & (strength > CONTRAST) & (blur(trust[..., None], torch.ones_like(trust), 1.0)[..., 0] > 0.01)
    return torch.where((alpha > 0.02)[..., None], colors, image), torch.where(sure, torch.minimum(found.clamp_min(0), alpha), alpha)


def _check_static(views: Views) -> None:
    viewmats, Ks = views.cameras.viewmats, views.cameras.Ks
    moved = float((viewmats - viewmats[:1]).abs().max())
    zoomed = float((Ks - Ks[:1]).abs().max() / Ks[0, 0, 0])
    if max(moved, zoomed) > SAME_CAMERA:
        raise InputError("views: the cameras differ; a solid body is built from the frames of one static camera")
