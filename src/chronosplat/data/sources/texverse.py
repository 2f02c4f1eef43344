"""TexVerse-Animation: 54,430 animated models of Sketchfab in the files that their authors uploaded.

Layout: ``YiboZhang2001/TexVerse-Skeleton-Animation`` holds model_paths.txt (lines models/SHARD/UID.zip) and the archives;
``TexVerse-Animation_id_list.txt`` names the animated ones; ``YiboZhang2001/TexVerse`` holds metadata.json (uid -> facts).
The lists of ids are part of the project's repository on GitHub, so the list's path is given: ``texverse:ID_LIST.txt`` reads
the rest from the hub, ``texverse:FOLDER`` a mirror with all four. An archive is used if it holds a .glb or .gltf file; those
with .fbx or .blend only are recorded as failures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chronosplat.data.licences import is_allowed
from chronosplat.data.sources.asset import Asset, Query, register_source
from chronosplat.data.sources.objaverse import locate, sketchfab_asset, sketchfab_licence
from chronosplat.events import Events, info
from chronosplat.shapes import InputError

ARCHIVES, FACTS = "YiboZhang2001/TexVerse-Skeleton-Animation", "YiboZhang2001/TexVerse"
ID_LIST = "TexVerse-Animation_id_list.txt"


@register_source("texverse")
def texverse_source(query: Query, events: Events) -> list[Asset]:
    """List the animated models whose archive exists and whose licence is allowed."""
    place = Path(query.place)
    if not query.place or not place.exists():
        remedy = f"give texverse:{ID_LIST} (of the project's repository, folder metadata), or texverse:FOLDER of a mirror"
        raise InputError(f"texverse:{query.place}: the list of animated models is missing; {remedy}")
    mirror = place if place.is_dir() else None
    wanted = set((place / ID_LIST if mirror else place).read_text().split())
    archives = {Path(line).stem: line for line in locate(ARCHIVES, "model_paths.txt", mirror).read_text().split()}
    facts = read_json(locate(FACTS, "metadata.json", mirror))
    found = []
    for uid in sorted(wanted & archives.keys()):
        about = facts.get(uid, {})
        if is_allowed(sketchfab_licence(about), query.licences):
            file = str((mirror / archives[uid]).resolve()) if mirror else f"hf://{ARCHIVES}/{archives[uid]}"
            found.append(sketchfab_asset(uid, file, about))
    if absent := len(wanted - archives.keys()):
        events.notice(info("texverse-absent", f"texverse: {absent} of {len(wanted)} listed models have no archive"))
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a list of objects with ``uid`` counts as one.

    Raises:
        InputError: it is damaged.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return {str(entry.get("uid") or entry.get("id")): entry for entry in read} if isinstance(read, list) else dict(read)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it, so that it is downloaded again") from error
