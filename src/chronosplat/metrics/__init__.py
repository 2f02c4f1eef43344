"""Measures of pictures and of films, each with its exact protocol."""

from chronosplat.metrics.film import flicker
from chronosplat.metrics.pictures import PSNR_MOST, foreground_psnr, mean_psnr, psnr, ssim
