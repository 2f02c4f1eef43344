"""The clip bank: training clips that are rendered on first use and cached on disk, each as a shard of its own.

Clip i is a pure function of the recipe, the contents of the asset files and i. A training step samples from the first n
clips, where n grows with the step, so runs are reproducible and resumable. Shards are written atomically: several workers
may share a folder, and a missing one is rendered again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets import GltfModel, MovingMesh, random_rig
from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import CANONICAL
from chronosplat.data.clip import Clip
from chronosplat.data.clips import render_clip, training_views
from chronosplat.data.sample import StoredClip
from chronosplat.data.shards import finished_shard, read_clip, write_shard
from chronosplat.data.store import Store
from chronosplat.shapes import InputError

VALIDATION = (
    "sketchfab_toon_cat",
    "sketchfab_robot_mantis",
    "q_animals_husky",
    "q_dinosaurs_triceratops",
    "kaykit_rogue_hooded",
    "babylon_desk_fan",
    "q_easy_enemies_frog",
    "quaternius_bunny_monster",
)  # held out from training


@dataclass(frozen=True)
class BankRecipe:
    """The clips of a bank.

    Attributes:
        assets: folder of .glb files; empty for procedural objects only.
        exclude: stems of files to exclude, in addition to the validation split.
        include_validation: also train on the validation split, which invalidates its metrics.
        procedural: fraction of procedural clips.
        size: pixels (H = W).
        frames: times per clip.
        extra_views: random views in addition to the four canonical ones.
        samples: samples x samples per pixel.
        clip_seed: seed of the clips.
    """

    assets: str = ""
    exclude: tuple[str, ...] = ()
    include_validation: bool = False
    procedural: float = 0.4
    size: int = 128
    frames: int = 24
    extra_views: int = 8
    samples: int = 2
    clip_seed: int = 0

    def files(self) -> list[Path]:
        """List the asset files to use, sorted by name."""
        excluded = self.excluded()
        return [file for file in sorted(Path(self.assets).glob("*.glb")) if file.stem not in excluded] if self.assets else []

    def excluded(self) -> set[str]:
        """Return the stems of files, and the uids of clips, that are not trained on."""
        return set(self.exclude) | (set() if self.include_validation else set(VALIDATION))

    def digest(self) -> str:
        """Hash the recipe and the contents of its files to a folder name, so that different clips do not mix."""
        facts = {name: value for name, value in asdict(self).items() if name not in ("assets", "exclude", "include_validation")}
        contents = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in self.files()}
        return hashlib.sha256(json.dumps([facts, contents]).encode()).hexdigest()[:10]


class ClipBank:
    """Clips by index; picklable for worker processes."""

    def __init__(self, recipe: BankRecipe, folder: str | Path) -> None:
        self.recipe = recipe
        self.folder = Path(folder) / recipe.digest()
        self.files = recipe.files()
        self._counts: dict[str, int] = {}  # animations by file
        if recipe.assets and not self.files:
            raise InputError(f"{recipe.assets}: no .glb files to train on")

    def digest(self) -> str:
        """Return a name that tells these clips from others."""
        return self.folder.name

    def usable(self, wanted: int) -> int:
        """Return how many clips can be used; any number can be rendered."""
        return wanted

    def clip(self, index: int) -> StoredClip:
        """Return clip ``index``; renders it if it is not cached."""
        address = self.folder / f"{index:06d}.tar"
        record = finished_shard(address) or write_shard(address, [self._rendered(index)])
        return read_clip(Store.at(self.folder), record.file, record.entries[0])

    def _rendered(self, index: int) -> Clip:
        rng = np.random.default_rng((self.recipe.clip_seed, index))
        cameras = training_views(self.recipe.size, rng, self.recipe.extra_views)
        mesh, seconds = self._mesh(rng)
        rgba, geometry = render_clip(mesh, seconds, cameras, random_rig(rng), self.recipe.samples)
        canonical = len(CANONICAL)
        return Clip(
            key=f"clip-{index:06d}",
            frames=rgba,
            geometry=geometry,
            viewmats=cameras.viewmats.numpy(),
            Ks=cameras.Ks.numpy(),
            width=cameras.width,
            height=cameras.height,
            seconds=seconds.astype(np.float64),
            groups={"canonical": list(range(canonical)), "random": list(range(canonical, len(cameras)))},
            facts={"mesh": mesh.name},
        )

    def _animations(self, file: str) -> int:
        if file not in self._counts:
            self._counts[file] = len(GltfModel(file).animations)
        return self._counts[file]

    def _mesh(self, rng: np.random.Generator) -> tuple[MovingMesh, NDArray[np.floating]]:
        """Choose a moving object and its times: the whole motion or a part, forwards or backwards."""
        if not self.files or rng.random() < self.recipe.procedural:
            mesh: MovingMesh = procedural_object(int(rng.integers(2**31)))
        else:
            file = str(self.files[rng.integers(len(self.files))])
            mesh = GltfModel(file, int(rng.integers(max(self._animations(file), 1))))
        share = 1.0 if rng.random() < 0.5 else rng.uniform(0.3, 1.0)
        start = rng.uniform(0, 1 - share) * mesh.duration
        seconds = start + np.linspace(0, share * mesh.duration, self.recipe.frames)
        return mesh, seconds[::-1] if rng.random() < 0.3 else seconds
