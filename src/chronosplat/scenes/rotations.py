"""Quaternions (wxyz), and rotations in 3D and 4D."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EIGEN_GAP = 1e-4  # eigenvalues with a smaller relative difference count as equal


def normalize(quats: Tensor) -> Tensor:
    """Normalise quaternions [..., 4]; a zero quaternion becomes the identity."""
    norm = quats.norm(dim=-1, keepdim=True)
    identity = torch.zeros_like(quats)
    identity[..., 0] = 1
    return torch.where(norm < 1e-12, identity, quats / norm.clamp_min(1e-12))


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Compute the Hamilton product ``a b`` of quaternions [..., 4]: rotate by ``b``, then by ``a``."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def quats_to_matrices(quats: Tensor) -> Tensor:
    """Convert quaternions [..., 4] of any length to rotation matrices [..., 3, 3]."""
    w, x, y, z = normalize(quats).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrices_to_quats(matrices: Tensor) -> Tensor:
    """Convert proper rotations [..., 3, 3] to unit quaternions [..., 4] with w >= 0; numerically stable for every rotation."""
    m = matrices
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # four times the square of each component; divide by the largest
    squares = torch.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], dim=-1)
    sums = [
        [squares[..., 0], m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]],
        [m[..., 2, 1] - m[..., 1, 2], squares[..., 1], m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0]],
        [m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] + m[..., 0, 1], squares[..., 2], m[..., 2, 1] + m[..., 1, 2]],
        [m[..., 1, 0] - m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2], squares[..., 3]],
    ]
    candidates = torch.stack([torch.stack(row, dim=-1) for row in sums], dim=-2)
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quats = normalize(candidates.gather(-2, best)[..., 0, :])
    return torch.where(quats[..., :1] < 0, -quats, quats)


class _Eigh(torch.autograd.Function):
    """``torch.linalg.eigh`` with a finite gradient where eigenvalues coincide.

    Eigenvectors of nearly equal eigenvalues are arbitrary, so the gradient of a rotation between them is dropped.
    """

    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrices)
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        values, vectors = ctx.saved_tensors
        g_values, g_vectors = grad_outputs
        gap = values[..., None, :] - values[..., :, None]
        apart = gap.abs() > EIGEN_GAP * values.abs().amax(-1)[..., None, None]
        turn = torch.where(apart, (vectors.transpose(-1, -2) @ g_vectors) / torch.where(apart, gap, torch.ones_like(gap)), 0.0)
        inner = turn + torch.diag_embed(g_values)
        return vectors @ (0.5 * (inner + inner.transpose(-1, -2))) @ vectors.transpose(-1, -2)


def covariances_to_shapes(covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Convert symmetric positive covariances [..., 3, 3] to quaternions [..., 4] and scales [..., 3]; differentiable everywhere."""
    values, vectors = _Eigh.apply(covariances)  # pyright: ignore[reportGeneralTypeIssues]
    sign = torch.where(torch.linalg.det(vectors.detach()) < 0, -1.0, 1.0).to(vectors)
    vectors = torch.cat([vectors[..., :2], vectors[..., 2:] * sign[..., None, None]], dim=-1)  # proper rotation
    return matrices_to_quats(vectors), values.clamp_min(1e-16).sqrt()


def rotation_4d(left: Tensor, right: Tensor) -> Tensor:
    """Compute the 4D rotation ``L(left) R(right)`` [..., 4, 4] of two quaternions [..., 4] (4D-LRM, section 2.1)."""
    a, b, c, d = normalize(left).unbind(-1)
    p, q, r, s = normalize(right).unbind(-1)
    L = [[a, -b, -c, -d], [b, a, -d, c], [c, d, a, -b], [d, -c, b, a]]
    R = [[p, -q, -r, -s], [q, p, s, -r], [r, -s, p, q], [s, r, -q, p]]
    stack = [torch.stack([torch.stack(row, dim=-1) for row in m], dim=-2) for m in (L, R)]
    return stack[0] @ stack[1]
