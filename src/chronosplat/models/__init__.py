"""Models: the registry, one package per model, and shared weights, hub and precision code."""

from chronosplat.models.imagedream.weights import from_imagedream, to_imagedream
from chronosplat.models.l4gm.weights import from_l4gm, to_l4gm
from chronosplat.models.registry import MODELS, find_model, find_weights, load_model, register_model
from chronosplat.models.spec import InputSpec, ModelSpec, Reconstructor
