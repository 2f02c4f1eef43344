"""Objaverse-XL-Rigged-Animated: ``Linzhan/Objaverse-XL-Rigged-Animated``, glb/NAME.glb and one CSV of all objects.

The data set carries objects of GitHub and Sketchfab under their own licences. Names of the CSV's columns differ between
versions, so each fact is looked for under several; an object whose licence column is missing or empty is refused by the
filter unless its file states one.
"""

from __future__ import annotations

import csv
from pathlib import Path

from chronosplat.data.sources.asset import Asset, Query, register_source
from chronosplat.data.sources.files import hub_file, hub_names
from chronosplat.data.sources.folder import safe_uid
from chronosplat.events import Events, warning
from chronosplat.shapes import InputError

REPOSITORY = "Linzhan/Objaverse-XL-Rigged-Animated"
COLUMNS = {
    "file": ("file", "file_name", "filename", "path", "glb", "glb_path", "local_path"),
    "uid": ("uid", "sha256", "id", "name", "object_id"),
    "licence": ("license", "licence", "license_name", "observed_license_slug"),
    "author": ("author", "user", "creator", "github_repository", "organization"),
    "source": ("source_url", "fileidentifier", "file_identifier", "url", "source"),
}


@register_source("objaverse-xl-rigged")
def rigged_source(query: Query, events: Events) -> list[Asset]:
    """List the objects of the data set, or of a local mirror with its layout (``objaverse-xl-rigged:FOLDER``)."""
    mirror = Path(query.place) if query.place else None
    if mirror is not None and not mirror.is_dir():
        raise InputError(f"objaverse-xl-rigged:{query.place}: no such folder; give a mirror of {REPOSITORY}, or no folder for the hub")
    names = (
        hub_names(REPOSITORY) if mirror is None else [p.relative_to(mirror).as_posix() for p in sorted(mirror.rglob("*")) if p.is_file()]
    )
    models = {Path(name).stem: name for name in names if name.lower().endswith((".glb", ".gltf"))}
    rows: dict[str, dict[str, str]] = {}
    for name in (n for n in names if n.lower().endswith(".csv")):
        rows |= facts_by_model(hub_file(REPOSITORY, name) if mirror is None else mirror / name, models)
    if unknown := len(models.keys() - rows.keys()):
        text = f"{REPOSITORY}: {unknown} of {len(models)} models are in no CSV file; their licence is asked of their file"
        events.notice(warning("models-without-facts", text))
    return [
        Asset(
            uid=safe_uid(stem),
            file=f"hf://{REPOSITORY}/{name}" if mirror is None else str((mirror / name).resolve()),
            licence=(row := rows.get(stem, {})).get("licence", ""),
            author=row.get("author", ""),
            source=row.get("source", ""),
            attribution=", ".join(filter(None, (stem, row.get("author"), row.get("source"), row.get("licence")))),
        )
        for stem, name in models.items()
    ]


def facts_by_model(path: Path, models: dict[str, str]) -> dict[str, dict[str, str]]:
    """Read the rows of a CSV file that describe a model, by the stem of its file.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                {(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if isinstance(v, str)} for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: the CSV file cannot be read ({error}); download it again") from error
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        facts = {fact: next((row[column] for column in columns if row.get(column)), "") for fact, columns in COLUMNS.items()}
        for stem in (Path(facts["file"]).stem, facts["uid"]):
            if stem in models:
                found[stem] = facts
    return found
