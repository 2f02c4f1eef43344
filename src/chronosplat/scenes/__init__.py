"""Scenes: kinds of Gaussians over time, conditioning on time, conversions, rotations, and scene files."""

from chronosplat.scenes.conditioning import covariance_4d, moving_form, moving_shape, temporal_weight
from chronosplat.scenes.convert import Converted, to_linear_motion, to_sequence
from chronosplat.scenes.deformable import DeformableGaussians
from chronosplat.scenes.editable import Editable
from chronosplat.scenes.fading import FAINT
from chronosplat.scenes.gaussians import Gaussians4D, GaussianSequence
from chronosplat.scenes.rotations import covariances_to_shapes, matrices_to_quats, multiply, normalize, quats_to_matrices, rotation_4d
from chronosplat.scenes.scene import (
    SCENE_KINDS,
    SPLAT_SHAPES,
    Clock,
    Gaussians3D,
    LinearForm,
    Scene,
    Skinned,
    TensorScene,
    Tracked,
    gaussians_at,
    scene_kind,
)
from chronosplat.scenes.scene_file import load_scene, read_metadata, save_scene
from chronosplat.scenes.stored_sequence import SequenceWriter, StoredSequence, sequence_in_memory
from chronosplat.scenes.time_map import TimeMap
