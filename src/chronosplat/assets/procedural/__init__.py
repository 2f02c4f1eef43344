"""Procedural moving objects, determined by their seed."""

from __future__ import annotations

import numpy as np

from chronosplat.assets.procedural.cloth import cloth
from chronosplat.assets.procedural.creatures import creature
from chronosplat.assets.procedural.mechanisms import assembly, gears, propeller, vehicle
from chronosplat.assets.procedural.parts import ProceduralMesh
from chronosplat.assets.procedural.soft import blob, flag, wings

# probability of each family; articulated creatures are closest to real captures
FAMILIES = {creature: 0.4, vehicle: 0.1, propeller: 0.08, gears: 0.05, assembly: 0.1, blob: 0.11, wings: 0.09, flag: 0.04, cloth: 0.03}


def procedural_object(seed: int, family: str | None = None) -> ProceduralMesh:
    """Generate a random moving object of about unit size. Motions last one second; those of creatures and soft objects loop.

    Simulated cloth does not loop.

    Args:
        seed: any non-negative integer.
        family: name of a family (creature, vehicle, ...); random if None.
    """
    rng = np.random.default_rng(seed)
    by_name = {make.__name__: make for make in FAMILIES}
    make = list(FAMILIES)[rng.choice(len(FAMILIES), p=list(FAMILIES.values()))]
    return (by_name[family] if family else make)(rng)
