"""Assets: objects by uid, with where their file is and what may be done with them, and the registry of their sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from chronosplat.events import Events
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Asset:
    """An animated or static object. All but ``uid`` and ``file`` is provenance, carried into every clip.

    Attributes:
        uid: unique in its source; [a-zA-Z0-9_.-].
        file: a path; ``hf://OWNER/DATASET/FILE`` of the Hugging Face hub; any address that fsspec reads; or
            ``procedural:FAMILY:SEED``.
        licence: as its source states it; empty if it states none. The file's own metadata are then asked.
        author, source, attribution: who made it, where it comes from, and the line that credits it.
        animations: names of the animations to use; empty for all.
        is_own: from a folder of the user's without a manifest, where a file that states no licence is the user's affair.
    """

    uid: str
    file: str
    licence: str = ""
    author: str = ""
    source: str = ""
    attribution: str = ""
    animations: tuple[str, ...] = ()
    is_own: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON; empty values are left out."""
        return {name: value for name, value in asdict(self).items() if value}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Asset:
        """From JSON."""
        known: dict[str, Any] = {f.name: values[f.name] for f in fields(Asset) if f.name in values}
        known["animations"] = tuple(known.get("animations", ()))
        return Asset(**known)


@dataclass(frozen=True)
class Query:
    """What is wanted of a source.

    Attributes:
        place: what follows the source's name: a folder, a file, a mirror, a family.
        animated: only objects that the source knows to be animated; of those that do not tell, all.
        limit: at most this many objects, the first by uid; 0 for all.
        licences: families that a source with metadata of all objects may filter by before anything is downloaded.
        recommended: only the animation that a manifest recommends.
    """

    place: str
    animated: bool = True
    limit: int = 0
    licences: tuple[str, ...] = ()
    recommended: bool = False


Source = Callable[[Query, Events], list[Asset]]
SOURCES: dict[str, Source] = {}


def register_source(name: str) -> Callable[[Source], Source]:
    """Register a source, addressed as ``name`` or ``name:PLACE``."""

    def add(source: Source) -> Source:
        SOURCES[name] = source
        return source

    return add


def unique(assets: list[Asset], limit: int = 0) -> list[Asset]:
    """Sort by uid, and cut to the limit.

    Raises:
        InputError: two assets have the same uid.
    """
    ordered = sorted(assets, key=lambda asset: asset.uid)
    for one, other in pairwise(ordered):
        if one.uid == other.uid:
            raise InputError(
                f"{one.uid}: two objects have this uid ({one.file} and {other.file}); rename one of them, or list them with a uid each"
            )
    return ordered[: limit or None]
