"""Cameras, rays and camera paths. Camera conventions convert here and nowhere else."""

from chronosplat.cameras.cameras import Cameras, intrinsics, rigid_inverse
from chronosplat.cameras.paths import CANONICAL, FOVY, RADIUS, orbit, orbit_pose, space_time_path, turntable
from chronosplat.cameras.rays import nearest_points, pixel_rays, plucker_lgm
from chronosplat.cameras.similarity import Similarity
