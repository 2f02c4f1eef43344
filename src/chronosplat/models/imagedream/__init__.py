"""ImageDream's multi-view U-Net and its weights."""

from chronosplat.models.imagedream.network import ImageDreamConfig, ImageDreamUNet
