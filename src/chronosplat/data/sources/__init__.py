"""Sources of animated objects: folders, lists, Objaverse, TexVerse, Objaverse-XL-Rigged-Animated, procedural objects."""

from __future__ import annotations

from pathlib import Path

from chronosplat.data.sources import folder, listing, objaverse, procedural, rigged, texverse
from chronosplat.data.sources.asset import SOURCES, Asset, Query, register_source, unique
from chronosplat.data.sources.files import fetch
from chronosplat.events import Events
from chronosplat.shapes import InputError


def find_assets(source: str, query: Query, events: Events | None = None) -> list[Asset]:
    """List the objects of a source, sorted by uid.

    Args:
        source: a folder, a list file (.txt, .csv, .json, .jsonl), a model file, or NAME or NAME:PLACE of a registered source.

    Raises:
        InputError: it does not exist, cannot be read, or has no objects; or the limit is negative.
    """
    if query.limit < 0:
        raise InputError(f"limit: expected 0 or more, got {query.limit}")
    name, _, place = source.partition(":")
    if name not in SOURCES or Path(source).exists():
        name, place = "list" if Path(source).suffix.lower() in listing.SUFFIXES and not Path(source).is_dir() else "folder", source
    found = unique(
        SOURCES[name](Query(place, query.animated, query.limit, query.licences, query.recommended), events or Events()), query.limit
    )
    if not found:
        raise InputError(f"{source}: no objects found; give a folder of .glb files, a list, or one of {', '.join(SOURCES)}")
    return found
