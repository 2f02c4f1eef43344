"""Published weights from the Hugging Face hub: download once, after a notice of size and licence, then work offline.

A file must match its pinned SHA-256 or, where none is known, the one recorded on first use. The records lie in the user's
own cache folder, because the hub's may be shared and read-only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from chronosplat.files import atomic_file
from chronosplat.shapes import InputError, UnavailableError

log = logging.getLogger("chronosplat")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub; ``revision`` and ``sha256`` pin it where they are known."""

    repo: str
    name: str
    revision: str | None = None
    sha256: str = ""


def fetch(file: HubFile, licence: str) -> Path:
    """Return the file's local path; download the file if it is not cached.

    Raises:
        UnavailableError: neither cached nor downloadable.
        InputError: its SHA-256 is not the pinned or recorded one.
    """
    where = f"{file.repo}/{file.name}"
    try:
        path = hf_hub_download(file.repo, file.name, revision=file.revision, local_files_only=True)
    except LocalEntryNotFoundError:
        with _download_errors(where, "weights"):
            size = get_hf_file_metadata(hf_hub_url(file.repo, file.name, revision=file.revision)).size or 0
            log.warning("downloading %s (%.2f GB, once; licence: %s)", where, size / 1e9, licence)
            path = hf_hub_download(file.repo, file.name, revision=file.revision)
    check_hash(Path(path), where, file.sha256)
    return Path(path)


def fetch_folder(repo: str, patterns: Sequence[str], needed: Sequence[str], licence: str) -> Path:
    """Return a local folder with a repository's files that match ``patterns``; download what is not cached.

    Args:
        needed: required files.

    Raises:
        UnavailableError: neither cached nor downloadable, or a required file is missing.
    """

    def missing(folder: str) -> list[str]:
        return [name for name in needed if not (Path(folder) / name).is_file()]

    with suppress(LocalEntryNotFoundError, OSError):
        folder = snapshot_download(repo, allow_patterns=list(patterns), local_files_only=True)
        if not missing(folder):
            return Path(folder)
    with _download_errors(f"{repo} ({', '.join(needed)}, ...)", "diffusion"):
        log.warning("downloading %s (several GB, once; licence: %s)", repo, licence)
        folder = snapshot_download(repo, allow_patterns=list(patterns))
    if absent := missing(folder):
        problem = f"{repo}: holds no {absent[0]} (pickled weights are not loaded)"
        raise UnavailableError(problem, "give a folder that has it as {diffusion}", diffusion=...)
    return Path(folder)


@contextmanager
def _download_errors(what: str, argument: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the hub, of its network library, of the system
        why = (str(error).strip() or repr(error)).splitlines()[0]
        problem = f"{what} is not on this machine and cannot be downloaded ({why}); the hub's cache is {constants.HF_HUB_CACHE}"
        raise UnavailableError(problem, f"get it elsewhere and put it there, or give it as {{{argument}}}", **{argument: ...}) from error


def records_file() -> Path:
    """Return the file of recorded hashes, in ``$CHRONOSPLAT_CACHE`` or the user's cache folder."""
    cache = os.environ.get("CHRONOSPLAT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chronosplat"
    return Path(cache) / "weights.json"


def check_hash(path: Path, name: str, sha256: str = "") -> None:
    """Compare a cached file with its pinned SHA-256, else the one in its cache file name, else the recorded one.

    A checked file whose size and date have not changed is not read again.

    Args:
        name: key of the file in the records.

    Raises:
        InputError: the SHA-256 differs.
    """
    file = path.resolve()
    stamp = f"{file.stat().st_size} {file.stat().st_mtime_ns}"
    try:
        records = dict(json.loads(records_file().read_text()))
        before = dict(records.get(name) or {})
    except (OSError, ValueError, TypeError):
        records, before = {}, {}
    expected = sha256 or (file.name if len(file.name) == 64 else "") or before.get("sha256", "")
    if before.get("stamp") == stamp and before.get("sha256") == expected:
        return
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if expected and found != expected:
        problem = f"{path}: damaged or replaced (SHA-256 {found[:12]}..., expected {expected[:12]}...)"
        raise InputError(f"{problem}; delete {file} and load again")
    with suppress(OSError), atomic_file(records_file()) as fresh:
        fresh.write_text(json.dumps(records | {name: {"sha256": found, "stamp": stamp}}, indent=1))
