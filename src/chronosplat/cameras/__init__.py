"""Cameras, rays and camera paths; the only room where camera conventions convert."""

from chronosplat.cameras.cameras import Cameras, intrinsics, rigid_inverse
from chronosplat.cameras.paths import CANONICAL, FOVY, RADIUS, orbit, orbit_pose, space_time_path, turntable
from chronosplat.cameras.rays import camera_rays, nearest_points, pixel_rays, plucker_lgm, plucker_lrm
from chronosplat.cameras.similarity import Similarity
