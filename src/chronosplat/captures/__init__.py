"""Captures: pixels in. Posed views from transforms JSON and videos, and the normalisation of their world."""

from chronosplat.captures.load import fit_size, load_capture
from chronosplat.captures.normalize import normalizing_similarity
from chronosplat.captures.transforms import save_transforms
from chronosplat.captures.views import Views

__all__ = ["Views", "fit_size", "load_capture", "normalizing_similarity", "save_transforms"]
