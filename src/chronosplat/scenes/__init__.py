"""Scenes: Gaussians over time, their kinds, conditioning on time, rotations, and the native file."""

from chronosplat.scenes.conditioning import condition, covariance_4d, moving_form, moving_shape, temporal_weight
from chronosplat.scenes.gaussians import Gaussians3D, Gaussians4D, GaussianSequence, gaussians_at
from chronosplat.scenes.rotations import covariances_to_shapes, matrices_to_quats, multiply, normalize, quats_to_matrices, rotation_4d
from chronosplat.scenes.scene import SCENE_KINDS, SPLAT_SHAPES, Clock, LinearForm, Scene, TensorScene, evenly_spaced, scene_kind
from chronosplat.scenes.scene_file import load_scene, read_metadata, save_scene
from chronosplat.scenes.stored_sequence import SequenceWriter, StoredSequence

__all__ = [
    "SCENE_KINDS",
    "SPLAT_SHAPES",
    "Clock",
    "GaussianSequence",
    "Gaussians3D",
    "Gaussians4D",
    "LinearForm",
    "Scene",
    "SequenceWriter",
    "StoredSequence",
    "TensorScene",
    "condition",
    "covariance_4d",
    "covariances_to_shapes",
    "evenly_spaced",
    "gaussians_at",
    "load_scene",
    "matrices_to_quats",
    "moving_form",
    "moving_shape",
    "multiply",
    "normalize",
    "quats_to_matrices",
    "read_metadata",
    "rotation_4d",
    "save_scene",
    "scene_kind",
    "temporal_weight",
]
