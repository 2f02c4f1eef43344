"""Image and video metrics, each with its exact protocol."""

from chronosplat.metrics.images import PSNR_MAX, foreground_psnr, mean_psnr, psnr, sharpness, silhouette_iou, ssim
from chronosplat.metrics.video import flicker
