"""Opened objects: the meshes of an asset's animations, and what its file says about its origin."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from chronosplat.assets import GltfModel, MovingMesh
from chronosplat.assets.procedural import procedural_object
from chronosplat.data.licences import OWN, is_allowed
from chronosplat.data.sources.asset import Asset
from chronosplat.data.sources.files import fetch
from chronosplat.events import Events, Notice
from chronosplat.shapes import InputError

PROCEDURAL = "procedural:"


@dataclass(frozen=True)
class Motion:
    """One animation of an object.

    Attributes:
        index: its number; None for a static or procedural object. name: for people.
        repairs: defects of its file that were repaired.
    """

    mesh: MovingMesh
    index: int | None
    name: str
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenedAsset:
    """An asset whose file is here.

    Attributes:
        asset: with licence and author completed from the file.
        path, digest: the file and its SHA-256; None and empty for procedural objects.
        first: the object with its first animation.
    """

    asset: Asset
    path: Path | None
    digest: str
    first: Motion

    def motions(self) -> Iterator[Motion | InputError]:
        """Open the animations to use one after the other; one that cannot be opened yields the reason."""
        mesh = self.first.mesh
        if self.path is None or not isinstance(mesh, GltfModel) or not mesh.animations:
            yield self.first
            return
        for index, animation in enumerate(mesh.animations):
            if self.asset.animations and animation.name not in self.asset.animations:
                continue
            try:
                yield self.first if index == 0 else opened_motion(self.path, index)
            except InputError as error:
                yield error

    @property
    def is_static(self) -> bool:
        """Whether it has no animation."""
        return isinstance(self.first.mesh, GltfModel) and not self.first.mesh.animations


def opened_motion(path: Path, index: int = 0) -> Motion:
    """Open a file with one of its animations; a static one has none.

    Raises:
        InputError: it cannot be read.
    """
    notices: list[Notice] = []
    model = GltfModel(path, index, Events(notice=notices.append))
    repairs = tuple(notice.text.removeprefix(f"{path}: ") for notice in notices)
    return Motion(model, index, model.animations[index].name, repairs) if model.animations else Motion(model, None, "", repairs)


def open_asset(asset: Asset, cache: Path, licences: tuple[str, ...]) -> OpenedAsset:
    """Fetch and open an object.

    Raises:
        InputError: the file cannot be fetched or read, lacks a requested animation, or has a licence that is not allowed.
    """
    if asset.file.startswith(PROCEDURAL):
        family, seed = asset.file.removeprefix(PROCEDURAL).rsplit(":", 1)
        return OpenedAsset(asset, None, "", Motion(procedural_object(int(seed), family or None), None, ""))
    check_licence(asset, licences, final=False)
    path = fetch(asset.file, cache)
    first = opened_motion(path)
    model = first.mesh
    assert isinstance(model, GltfModel)
    asset = completed(asset, model.file.json.get("asset", {}).get("extras"))
    check_licence(asset, licences)
    if missing := sorted(set(asset.animations) - {a.name for a in model.animations}):
        raise InputError(f"{path}: no animation {missing[0]!r}; it has {', '.join(a.name for a in model.animations) or 'none'}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return OpenedAsset(asset, path, digest, first)


def check_licence(asset: Asset, licences: tuple[str, ...], final: bool = True) -> None:
    """Refuse an object whose licence is not allowed, or, in the end, is not known.

    Raises:
        InputError: naming the licence.
    """
    is_own = asset.is_own and asset.licence == OWN
    if (asset.licence or final) and not is_own and not is_allowed(asset.licence, licences):
        stated = f"licence {asset.licence!r} is not allowed" if asset.licence else "states no licence"
        raise InputError(f"{stated}; allowed: {', '.join(licences) or 'none'}")


def completed(asset: Asset, extras: object) -> Asset:
    """Fill what the source left open from the file's ``asset.extras``, where Sketchfab writes licence, author and address."""
    stated = {k: str(v) for k, v in extras.items() if v} if isinstance(extras, dict) else {}
    licence = asset.licence or stated.get("license", "") or (OWN if asset.is_own else "")
    author, source = asset.author or stated.get("author", ""), asset.source or stated.get("source", "")
    credit = ", ".join(filter(None, (stated.get("title", asset.uid), author, source, licence)))
    return replace(asset, licence=licence, author=author, source=source, attribution=asset.attribution or credit)
