"""A monocular depth model, which knows the profile of an object that a silhouette does not show.

Any model of transformers' task depth-estimation does, such as Depth Anything V2 (Yang et al., NeurIPS 2024), whose small models are
under Apache-2.0: depth-anything/Depth-Anything-V2-Small-hf.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chronosplat.shapes import InputError, UnavailableError

DepthModel = Callable[[Tensor], Tensor]  # from an image [H, W, 3] to depth [H, W], larger is farther, up to a factor and an offset


def load_depth_model(name: str) -> DepthModel:
    """Load a model of the task depth-estimation.

    Args:
        name: on the Hugging Face hub, or a folder.

    Raises:
        UnavailableError: transformers is not installed.
        InputError: there is no such model.
    """
    if importlib.util.find_spec("transformers") is None:
        raise UnavailableError("depth_model: transformers is not installed", "run: pip install 'chronosplat[depth]'")
    from transformers import pipeline

    try:
        model = pipeline("depth-estimation", model=name)
    except (OSError, ValueError, KeyError) as error:
        problem = f"depth_model: {name!r} cannot be loaded: {str(error).strip().splitlines()[0]}"
        raise InputError(problem, "give a model of the task depth-estimation, such as depth-anything/Depth-Anything-V2-Small-hf") from error
    sign = 1.0 if getattr(model.model.config, "depth_estimation_type", "relative") == "metric" else -1.0  # relative: inverse depth

    def estimate(image: Tensor) -> Tensor:
        found: Any = model(Image.fromarray((image.clamp(0, 1) * 255 + 0.5).byte().numpy()))
        return sign * torch.as_tensor(np.asarray(found["predicted_depth"]), dtype=torch.float32).reshape(image.shape[:2])

    return estimate
