"""4D-LRM: config -> sweep and heads -> network -> reconstruction; its presets and weights."""

from chronosplat.models.lrm4d.config import Frames, LRM4DConfig, MovingHeadConfig, PaperHeadConfig, SweepConfig
from chronosplat.models.lrm4d.heads import PredictedGaussians
from chronosplat.models.lrm4d.network import LRM4D
from chronosplat.models.lrm4d.weights import model_from_file
