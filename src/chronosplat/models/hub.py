"""Weights that others published, from the Hugging Face hub: fetched once, with their size and licence said, then offline."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from chronosplat.shapes import InputError, UnavailableError

log = logging.getLogger("chronosplat")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub."""

    repo: str
    name: str


def fetch(file: HubFile, licence: str) -> Path:
    """The file's path on this machine, downloaded if it is not there yet.

    A fresh download is checked against the hash under which the hub keeps it, which is remembered beside it.

    Raises:
        UnavailableError: not here, and no way to get it: names the file and where it goes.
        InputError: what arrived, or what lies here, is not what the hub announced.
    """
    try:
        path = Path(hf_hub_download(file.repo, file.name, local_files_only=True))
    except LocalEntryNotFoundError:
        path = _download(file, licence)
    check_hash(path)
    return path


def _download(file: HubFile, licence: str) -> Path:
    where = f"{file.repo}/{file.name}"
    try:
        size = get_hf_file_metadata(hf_hub_url(file.repo, file.name)).size or 0
        log.warning("downloading %s (%.2f GB, once; licence: %s)", where, size / 1e9, licence)
        return Path(hf_hub_download(file.repo, file.name))
    except Exception as error:  # of the hub, of its network library, of the system
        raise _out_of_reach(where, error, "weights=FILE (--weights FILE)") from error


def fetch_folder(repo: str, patterns: Sequence[str], needed: Sequence[str], licence: str) -> Path:
    """The folder of a repository with the files that match ``patterns``, downloaded if they are not there yet.

    Args:
        needed: files without which the folder is of no use.

    Raises:
        UnavailableError: not here, and no way to get it: names the files and where they go.
    """

    def complete(folder: str) -> bool:
        return all((Path(folder) / name).is_file() for name in needed)

    try:
        folder = snapshot_download(repo, allow_patterns=list(patterns), local_files_only=True)
        if complete(folder):
            return Path(folder)
    except (LocalEntryNotFoundError, OSError):
        pass
    try:
        log.warning("downloading %s (several GB, once; licence: %s)", repo, licence)
        folder = snapshot_download(repo, allow_patterns=list(patterns))
    except Exception as error:  # of the hub, of its network library, of the system
        raise _out_of_reach(f"{repo} ({', '.join(needed)}, ...)", error, "a folder of its layout as --diffusion FOLDER") from error
    if not complete(folder):
        lacking = next(name for name in needed if not (Path(folder) / name).is_file())
        raise UnavailableError(f"{repo}: holds no {lacking} (pickled weights are not loaded); pass a folder with one as --diffusion FOLDER")
    return Path(folder)


def _out_of_reach(what: str, error: Exception, instead: str) -> UnavailableError:
    why = (str(error).strip() or repr(error)).splitlines()[0]
    return UnavailableError(
        f"{what} is not on this machine and cannot be downloaded ({why}); get it elsewhere and pass {instead}, "
        f"or put the hub's cache into {constants.HF_HUB_CACHE}"
    )


def check_hash(path: Path) -> None:
    """Compare a cached file with the SHA-256 that its name in the cache is; once, then a note beside it stands for it.

    Raises:
        InputError: the file was damaged.
    """
    blob = path.resolve()
    if len(blob.name) != 64:
        return  # a small file, kept under another kind of name
    note = blob.with_name(f"{blob.name}.checked")
    stamp = f"{blob.stat().st_size} {blob.stat().st_mtime_ns}"
    if note.is_file() and note.read_text() == stamp:
        return
    with blob.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != blob.name:
        raise InputError(f"{path}: damaged (SHA-256 {found[:12]}..., expected {blob.name[:12]}...); delete {blob} and load again")
    note.write_text(stamp)
