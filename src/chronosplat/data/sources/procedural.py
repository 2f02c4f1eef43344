"""Procedural objects as a source: ``procedural`` or ``procedural:FAMILY``, as many as the limit asks for."""

from __future__ import annotations

from chronosplat.assets.procedural import FAMILIES
from chronosplat.data.sources.asset import Asset, Query, register_source
from chronosplat.events import Events
from chronosplat.shapes import InputError

COUNT = 100  # objects without a limit


@register_source("procedural")
def procedural_source(query: Query, events: Events) -> list[Asset]:
    """List procedural objects; the number in the uid is the seed."""
    known = [make.__name__ for make in FAMILIES]
    if query.place and query.place not in known:
        raise InputError(f"procedural:{query.place}: unknown family; known: {', '.join(known)}")
    name = query.place or "any"
    return [
        Asset(f"procedural-{name}-{i:07d}", f"procedural:{query.place}:{i}", "CC0", "chronosplat", "procedural", "")
        for i in range(query.limit or COUNT)
    ]
