"""A list of objects: a text file with one path or address per line, or CSV, JSON or JSON Lines with provenance."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from chronosplat.data.sources.asset import Asset, Query, register_source
from chronosplat.data.sources.folder import described
from chronosplat.events import Events
from chronosplat.shapes import InputError

SUFFIXES = (".txt", ".csv", ".json", ".jsonl")
FILE_KEYS = ("file", "path", "url", "file_name", "local_path")


@register_source("list")
def list_source(query: Query, events: Events) -> list[Asset]:
    """List the objects that a file names; relative paths are relative to the list."""
    path = Path(query.place)
    return [entry_asset(entry, path, query.recommended) for entry in read_entries(path)]


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Read a list file as one dictionary per object.

    Raises:
        InputError: the file is missing or cannot be parsed.
    """
    try:
        text = path.read_text()
        if path.suffix.lower() == ".csv":
            return [dict(row) for row in csv.DictReader(io.StringIO(text))]
        if path.suffix.lower() == ".jsonl":
            return [dict(json.loads(line)) for line in text.splitlines() if line.strip()]
        if path.suffix.lower() == ".json":
            entries = json.loads(text)
            entries = [{"uid": uid, **value} for uid, value in entries.items()] if isinstance(entries, dict) else entries
            return [entry if isinstance(entry, dict) else {"file": str(entry)} for entry in entries]
        lines = (line.strip() for line in text.splitlines())
        return [{"file": line} for line in lines if line and not line.startswith("#")]
    except FileNotFoundError:
        raise InputError(f"{path}: no such list; give a .txt, .csv, .json or .jsonl file") from None
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: the list cannot be read ({error}); give one path per line, CSV with a header, or JSON") from error


def entry_asset(entry: dict[str, Any], path: Path, recommended: bool) -> Asset:
    """Return the asset of an entry.

    Raises:
        InputError: it names no file.
    """
    name = next((str(entry[key]) for key in FILE_KEYS if entry.get(key)), "")
    if not name:
        raise InputError(f"{path}: an entry names no file ({json.dumps(entry)[:80]}); expected one of {', '.join(FILE_KEYS)}")
    file = name if "://" in name else str((path.parent / name).resolve())
    return described(Path(name.split("://")[-1]).name, file, entry, recommended)
