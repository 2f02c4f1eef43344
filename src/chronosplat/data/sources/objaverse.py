"""Objaverse 1.0 (``allenai/objaverse``): animated objects with an allowed licence, from the metadata of all 800,000.

Layout of the data set: ``object-paths.json.gz`` (uid -> glbs/000-023/UID.glb) and ``metadata/000-000.json.gz`` ... (uid ->
facts of Sketchfab, among them ``animationCount``, ``license`` and ``user``).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from chronosplat.data.licences import is_allowed
from chronosplat.data.sources.asset import Asset, Query, register_source
from chronosplat.data.sources.files import hub_file
from chronosplat.events import Events
from chronosplat.shapes import InputError

REPOSITORY = "allenai/objaverse"
METADATA_FILES = [f"metadata/{i // 1000:03d}-{i % 1000:03d}.json.gz" for i in range(160)]


@register_source("objaverse")
def objaverse_source(query: Query, events: Events) -> list[Asset]:
    """List the objects of Objaverse, or of a local mirror with its layout (``objaverse:FOLDER``)."""
    mirror = Path(query.place) if query.place else None
    if mirror is not None and not mirror.is_dir():
        raise InputError(f"objaverse:{query.place}: no such folder; give a mirror of {REPOSITORY}, or 'objaverse' for the hub")
    paths = read_gzip(locate(REPOSITORY, "object-paths.json.gz", mirror))
    names = METADATA_FILES if mirror is None else sorted(f"metadata/{p.name}" for p in (mirror / "metadata").glob("*.json.gz"))
    found: list[Asset] = []
    for i, name in enumerate(names):
        for uid, facts in read_gzip(locate(REPOSITORY, name, mirror)).items():
            animated = int(facts.get("animationCount") or 0) > 0
            if uid in paths and (animated or not query.animated) and is_allowed(sketchfab_licence(facts), query.licences):
                file = f"hf://{REPOSITORY}/{paths[uid]}" if mirror is None else str((mirror / paths[uid]).resolve())
                found.append(sketchfab_asset(uid, file, facts))
        events.progress("reading metadata", i + 1, len(names), f"{len(found)} objects")
    return found


def locate(repository: str, name: str, mirror: Path | None) -> Path:
    """Return a file of a data set: of the mirror, or downloaded and cached.

    Raises:
        InputError: the mirror lacks it, or the hub cannot be reached.
    """
    if mirror is None:
        return hub_file(repository, name)
    if not (mirror / name).is_file():
        raise InputError(f"{mirror / name}: missing; the mirror needs the layout of {repository}")
    return mirror / name


def read_gzip(path: Path) -> dict[str, Any]:
    """Read gzipped JSON.

    Raises:
        InputError: it is damaged.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it, so that it is downloaded again") from error


def sketchfab_licence(facts: dict[str, Any]) -> str:
    """Return the licence of Sketchfab's facts: a slug such as ``by``, or an object with a label."""
    licence = facts.get("license") or ""
    return str(licence.get("slug") or licence.get("label") or "") if isinstance(licence, dict) else str(licence)


def sketchfab_asset(uid: str, file: str, facts: dict[str, Any]) -> Asset:
    """Return the asset of an object of Sketchfab, with the credit that CC-BY asks for: title, author, address, licence."""
    given = facts.get("user")
    user: dict[str, Any] = given if isinstance(given, dict) else {"username": given or ""}
    author = str(user.get("displayName") or user.get("username") or "unknown")
    address = str(facts.get("viewerUrl") or f"https://sketchfab.com/3d-models/{uid}")
    licence = sketchfab_licence(facts)
    title = str(facts.get("name") or uid)
    return Asset(uid, file, licence, author, address, f'"{title}" by {author} ({address}), licence {licence}')
