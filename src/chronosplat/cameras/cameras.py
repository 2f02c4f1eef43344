"""Pinhole cameras, and conversions from and to other camera conventions.

The package uses OpenCV axes (x right, y down, z forward), world-to-camera matrices, intrinsics in pixels, and pixel
centres at +0.5 (``docs/conventions.md``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.cameras.similarity import Similarity
from chronosplat.shapes import InputError, check_finite, check_shape, ordinary

OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True)
class Cameras:
    """F pinhole cameras of one image size.

    Attributes:
        viewmats: [F, 4, 4] world to camera, OpenCV axes.
        Ks: [F, 3, 3] intrinsics in pixels.
        width, height: W and H in pixels.

    Raises:
        InputError: wrong shapes, non-finite values, or focal lengths or image sizes that are not positive.
    """

    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int

    def __post_init__(self) -> None:
        for name in ("viewmats", "Ks"):
            object.__setattr__(self, name, ordinary(getattr(self, name)))
        sizes = check_shape("viewmats", self.viewmats, "F 4 4", remedy="world-to-camera, one 4x4 matrix per frame")
        check_shape("Ks", self.Ks, "F 3 3", sizes)
        check_finite("viewmats", self.viewmats)
        check_finite("Ks", self.Ks)
        if self.width < 1 or self.height < 1:
            raise InputError(f"image size: expected at least 1x1, got {self.width}x{self.height}")
        focal = torch.stack([self.Ks[:, 0, 0], self.Ks[:, 1, 1]])
        if focal.numel() and not bool((focal > 0).all()):
            raise InputError(f"Ks: focal lengths must be positive, got {focal.min().item():g}")

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Cameras:
        index = [index] if isinstance(index, int) else index
        return replace(self, viewmats=self.viewmats[index], Ks=self.Ks[index])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Cameras:
        """Move to another device or precision."""
        return replace(self, viewmats=self.viewmats.to(device=device, dtype=dtype), Ks=self.Ks.to(device=device, dtype=dtype))

    @property
    def centers(self) -> Tensor:
        """Camera centres [F, 3] in the world."""
        return -torch.einsum("fji,fj->fi", self.viewmats[:, :3, :3], self.viewmats[:, :3, 3])

    @property
    def forwards(self) -> Tensor:
        """Unit viewing directions [F, 3] in the world."""
        return self.viewmats[:, 2, :3]

    @property
    def ups(self) -> Tensor:
        """Unit directions [F, 3] in the world that point up in the images."""
        return -self.viewmats[:, 1, :3]

    def resized(self, width: int, height: int) -> Cameras:
        """Scale the images to ``width`` x ``height`` pixels; the field of view is unchanged."""
        factors = torch.tensor([width / self.width, height / self.height, 1.0], dtype=self.Ks.dtype, device=self.Ks.device)
        return replace(self, Ks=self.Ks * factors[:, None], width=width, height=height)

    def transformed(self, world: Similarity) -> Cameras:
        """Map the cameras into another world. A scene mapped with them renders the same images; depths scale."""
        rotation = world.rotation.to(self.viewmats)
        viewmats = self.viewmats.clone()
        viewmats[:, :3, :3] = self.viewmats[:, :3, :3] @ rotation.T
        viewmats[:, :3, 3] = world.scale * self.viewmats[:, :3, 3] - viewmats[:, :3, :3] @ world.translation.to(self.viewmats)
        return replace(self, viewmats=viewmats)

    @staticmethod
    def from_opengl_c2w(poses: Tensor, Ks: Tensor, width: int, height: int) -> Cameras:
        """Convert camera-to-world matrices [F, 4, 4] with OpenGL axes (x right, y up, z backward), as in transforms JSON."""
        check_shape("poses", poses, "F 4 4")
        return Cameras(rigid_inverse(poses @ OPENGL_TO_OPENCV.to(poses)), Ks, width, height)

    def to_opengl_c2w(self) -> Tensor:
        """Return camera-to-world matrices [F, 4, 4] with OpenGL axes."""
        return rigid_inverse(self.viewmats) @ OPENGL_TO_OPENCV.to(self.viewmats)

    @staticmethod
    def from_colmap(quats: Tensor, translations: Tensor, Ks: Tensor, width: int, height: int) -> Cameras:
        """Convert COLMAP's world-to-camera quaternions [F, 4] (wxyz) and translations [F, 3]."""
        sizes = check_shape("quats", quats, "F 4")
        check_shape("translations", translations, "F 3", sizes)
        viewmats = torch.eye(4).to(quats).repeat(len(quats), 1, 1)
        w, x, y, z = (quats / quats.norm(dim=-1, keepdim=True)).unbind(-1)
        rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z), 1 - 2 * (x * x + z * z)]
        rows += [2 * (y * z - w * x), 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
        viewmats[:, :3, :3] = torch.stack(rows, -1).view(-1, 3, 3)
        viewmats[:, :3, 3] = translations
        return Cameras(viewmats, Ks, width, height)

    @staticmethod
    def cat(parts: list[Cameras]) -> Cameras:
        """Concatenate cameras.

        Raises:
            InputError: the image sizes differ.
        """
        sizes = {(p.width, p.height) for p in parts}
        if len(sizes) != 1:
            raise InputError(f"cameras: image sizes differ ({', '.join(f'{w}x{h}' for w, h in sorted(sizes))}); use resized first")
        return replace(parts[0], viewmats=torch.cat([p.viewmats for p in parts]), Ks=torch.cat([p.Ks for p in parts]))


def rigid_inverse(matrices: Tensor) -> Tensor:
    """Invert rigid transforms [..., 4, 4]."""
    rotation = matrices[..., :3, :3].transpose(-1, -2)
    inverse = torch.zeros_like(matrices)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ matrices[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1
    return inverse


def intrinsics(width: int, height: int, fovy: float) -> Tensor:
    """Return float64 intrinsics [3, 3] with a centred principal point and vertical field of view ``fovy`` in degrees."""
    focal = 0.5 * height / float(torch.tan(torch.deg2rad(torch.tensor(fovy, dtype=torch.float64)) / 2))
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64)
