"""Which joint moves a face most, for part images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dominant_joints(faces: NDArray[np.integer], joints: NDArray[np.integer], weights: NDArray[np.floating]) -> list[int]:
    """Return for each face [M, 3] the joint with the largest sum of weights over its vertices.

    Args:
        joints, weights: [P, K] of the vertices.
    """
    count = len(faces)
    width = 3 * joints.shape[1]
    candidates, amounts = joints[faces].reshape(count, width), weights[faces].reshape(count, width)
    best, most = candidates[:, 0].copy(), np.full(count, -1.0)
    for k in range(candidates.shape[1]):
        total = (amounts * (candidates == candidates[:, k : k + 1])).sum(1)
        better = total > most
        best[better], most[better] = candidates[better, k], total[better]
    return best.tolist()
