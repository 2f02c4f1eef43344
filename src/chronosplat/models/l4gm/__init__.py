"""L4GM and LGM: config and input maps -> U-Net -> activations -> reconstruction; presets, weights and memory."""

from chronosplat.models.l4gm.activations import PredictedSplats
from chronosplat.models.l4gm.config import L4GMConfig, UNetConfig, input_maps, input_rays
from chronosplat.models.l4gm.memory import forward_bytes, weight_bytes
from chronosplat.models.l4gm.network import L4GM
from chronosplat.models.l4gm.weights import check_l4gm_file
