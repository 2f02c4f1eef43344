"""A folder of glTF files, here or elsewhere, with an optional manifest.json that names licences and authors.

The manifest is a list of objects with ``file`` (relative to the folder) and any of ``name``, ``licence`` or ``license``,
``author``, ``attribution``, ``source`` or ``source_repo``, and ``recommended_animation``.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from chronosplat.data.sources.asset import Asset, Query, register_source
from chronosplat.events import Events, warning
from chronosplat.shapes import InputError

MODELS, MANIFEST = (".glb", ".gltf"), "manifest.json"
WEB = ("http://", "https://")  # what lies there is not the user's own
Facts = dict[str, dict[str, Any]]


@register_source("folder")
def folder_source(query: Query, events: Events) -> list[Asset]:
    """List the glTF files of a folder and its subfolders; of one file, the file. Elsewhere only .glb files, which hold all they need."""
    root = Path(query.place)
    if "://" in query.place:
        names, stated = _remote(query.place)
        is_own = stated is None and not query.place.startswith(WEB)
        return _described(names, stated or {}, is_own, f"{query.place}/{MANIFEST}", query, events)
    if root.is_file() and root.suffix.lower() in MODELS:
        return [Asset(safe_uid(root.stem), str(root.resolve()), is_own=True)]
    if not root.is_dir():
        raise InputError(f"{query.place}: no such folder; give a folder of .glb files, a list, or a source such as objaverse")
    manifest = root / MANIFEST
    stated = parsed_manifest(manifest.read_bytes(), str(manifest)) if manifest.is_file() else None
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in MODELS and p.is_file())
    names = {file.relative_to(root).as_posix(): str(file.resolve()) for file in files}
    return _described(names, stated or {}, stated is None, str(manifest), query, events)


def _described(names: dict[str, str], stated: Facts, is_own: bool, manifest: str, query: Query, events: Events) -> list[Asset]:
    """Return the assets of files, given as address by name, with the facts of their manifest."""
    if missing := sorted(stated.keys() - names.keys()):
        text = f"{manifest}: {len(missing)} of {len(stated)} files are missing, for example {missing[0]}"
        events.notice(warning("manifest-files-missing", text))
    found = [described(name, file, stated.get(name, {}), query.recommended) for name, file in names.items()]
    return [replace(asset, is_own=is_own) for asset in found]


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


def parsed_manifest(text: bytes, where: str) -> Facts:
    """Return the facts of a manifest by file name.

    Raises:
        InputError: it is no list of objects with ``file``.
    """
    try:
        entries = json.loads(text)
        return {str(entry["file"]): dict(entry) for entry in entries}
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: damaged ({error!r}); expected a JSON list of objects with 'file', 'licence', 'author'") from error


def _remote(address: str) -> tuple[dict[str, str], Facts | None]:
    """Return the .glb files under an address of fsspec, as address by name, and the facts of its manifest, if there is one.

    Raises:
        InputError: it cannot be listed.
    """
    from chronosplat.data.sources.files import file_system

    system, path = file_system(address)
    protocol, root = address.split("://")[0], path.rstrip("/")
    try:
        files = {str(file).removeprefix(root).strip("/"): str(file) for file in sorted(system.find(path))}
        text = system.cat_file(files[MANIFEST]) if MANIFEST in files else None
    except Exception as error:  # file systems raise errors of their own libraries
        raise InputError(f"{address}: cannot be listed ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from error
    found = {name: file if "://" in file else f"{protocol}://{file}" for name, file in files.items() if name.lower().endswith(".glb")}
    return found, None if text is None else parsed_manifest(text, f"{address}/{MANIFEST}")
