"""Gaussians: the three kinds of scene, rotations, conditioning on time, and the native file."""

from chronosplat.gaussians.fourd import condition, covariance_4d, moving_form, moving_shape, temporal_weight
from chronosplat.gaussians.rotations import covariances_to_shapes, matrices_to_quats, multiply, normalize, quats_to_matrices, rotation_4d
from chronosplat.gaussians.scene_file import load_scene, save_scene
from chronosplat.gaussians.scenes import Clock, Gaussians3D, Gaussians4D, GaussianSequence, Scene
from chronosplat.gaussians.sequence_file import SequenceWriter, StoredSequence

__all__ = [
    "Clock",
    "GaussianSequence",
    "Gaussians3D",
    "Gaussians4D",
    "Scene",
    "SequenceWriter",
    "StoredSequence",
    "condition",
    "covariance_4d",
    "covariances_to_shapes",
    "load_scene",
    "matrices_to_quats",
    "moving_form",
    "moving_shape",
    "multiply",
    "normalize",
    "quats_to_matrices",
    "rotation_4d",
    "save_scene",
    "temporal_weight",
]
