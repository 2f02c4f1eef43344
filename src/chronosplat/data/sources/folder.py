"""A folder of glTF files, with an optional manifest.json that names licences and authors.

The manifest is a list of objects with ``file`` (relative to the folder) and any of ``name``, ``licence`` or ``license``,
``author``, ``attribution``, ``source`` or ``source_repo``, ``animations`` and ``recommended_animation``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from chronosplat.data.sources.asset import Asset, Query, register_source
from chronosplat.events import Events, warning
from chronosplat.shapes import InputError

MODELS = (".glb", ".gltf")


@register_source("folder")
def folder_source(query: Query, events: Events) -> list[Asset]:
    """List the glTF files of a folder and its subfolders; of one file, the file."""
    root = Path(query.place)
    if "://" in query.place:
        return _remote(query.place)
    if root.is_file() and root.suffix.lower() in MODELS:
        return [Asset(safe_uid(root.stem), str(root.resolve()), is_own=True)]
    if not root.is_dir():
        raise InputError(f"{query.place}: no such folder; give a folder of .glb files, a list, or a source such as objaverse")
    manifest = root / "manifest.json"
    stated = read_manifest(manifest)
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in MODELS and p.is_file())
    names = {file: file.relative_to(root).as_posix() for file in files}
    if missing := sorted(stated.keys() - set(names.values())):
        text = f"{manifest}: {len(missing)} of {len(stated)} files are missing, for example {missing[0]}"
        events.notice(warning("manifest-files-missing", text))
    if not manifest.exists():
        return [Asset(safe_uid(names[file].rsplit(".", 1)[0]), str(file.resolve()), is_own=True) for file in files]
    return [described(names[file], str(file.resolve()), stated.get(names[file], {}), query.recommended) for file in files]


def described(name: str, file: str, facts: dict[str, Any], recommended: bool) -> Asset:
    """Return the asset of a file with its facts of a manifest."""
    text = lambda *keys: next((str(facts[key]) for key in keys if facts.get(key)), "")
    chosen = text("recommended_animation") if recommended else ""
    return Asset(
        uid=safe_uid(text("uid", "name") or name.rsplit(".", 1)[0]),
        file=file,
        licence=text("licence", "license"),
        author=text("author", "attribution"),
        source=text("source", "source_repo", "url"),
        attribution=text("attribution"),
        animations=(chosen,) if chosen else (),
    )


def safe_uid(name: str) -> str:
    """Replace what a uid must not hold."""
    return re.sub(r"[^a-zA-Z0-9_.-]+", "_", name).strip("._") or "object"


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Read the facts of a manifest by file name; empty if there is none.

    Raises:
        InputError: it is no list of objects with ``file``.
    """
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text())
        return {str(entry["file"]): dict(entry) for entry in entries}
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); expected a JSON list of objects with 'file', 'licence', 'author'") from error


def _remote(address: str) -> list[Asset]:
    """List the .glb files under an address of fsspec, without a manifest."""
    from chronosplat.data.sources.files import file_system

    system, path = file_system(address)
    protocol = address.split("://")[0]
    found = [str(f) for f in system.find(path) if str(f).lower().endswith(".glb")]
    return [Asset(safe_uid(f.removeprefix(path).strip("/").rsplit(".", 1)[0]), f"{protocol}://{f}") for f in found]
