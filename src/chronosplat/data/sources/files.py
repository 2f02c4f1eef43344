"""Files of objects on this machine: local ones as they are, others downloaded once into a cache that all processes share."""

from __future__ import annotations

import errno
import hashlib
import shutil
import time
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from chronosplat.files import atomic_file, temporary_folder
from chronosplat.shapes import InputError, UnavailableError

HUB = "hf://"
UNPACKED_MOST = 4 << 30  # bytes of an archive's files together; a larger one is a mistake or a bomb
WAITS = (1.0, 5.0, 20.0)  # seconds before a download that failed is tried again
GONE = ("EntryNotFoundError", "RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError")  # of the hub: trying again is no use


class UnreachedError(InputError):
    """A file could not be downloaded, and may be another time."""


def fetch(file: str, cache: Path) -> Path:
    """Return the path of an object's glTF file, downloaded (with several tries) and unpacked if needed.

    Args:
        file: a path, ``hf://OWNER/DATASET/FILE``, or any address that fsspec reads; of a .zip archive, the .glb or .gltf
            file inside that lies least deep.

    Raises:
        InputError: it does not exist, or the archive holds no glTF file; UnreachedError: it cannot be downloaded now.
        UnavailableError: the library of this kind of address is not installed.
    """
    for wait in WAITS:
        try:
            path = _local(file, cache)
            break
        except UnreachedError:
            time.sleep(wait)
    else:
        path = _local(file, cache)
    if not path.is_file():
        raise InputError(f"{file}: no such file")
    return unpacked(path, cache) if path.suffix.lower() == ".zip" else path


def _local(file: str, cache: Path) -> Path:
    if file.startswith(HUB):
        owner, dataset, name = file.removeprefix(HUB).split("/", 2)
        return hub_file(f"{owner}/{dataset}", name)
    if "://" not in file:
        return Path(file)
    path = cache / hashlib.sha256(file.encode()).hexdigest()[:16] / PurePosixPath(file).name
    if not path.is_file():
        download(file, path)
    return path


def download(address: str, path: Path) -> None:
    """Copy a file of any file system to ``path``, atomically."""
    system, remote = file_system(address)
    try:
        with system.open(remote, "rb") as source, atomic_file(path) as fresh, fresh.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except FileNotFoundError:
        raise InputError(f"{address}: no such file") from None
    except Exception as error:  # file systems raise errors of their own libraries
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        raise UnreachedError(f"{address}: cannot be downloaded ({type(error).__name__}: {error})") from error


def file_system(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path inside it.

    Raises:
        UnavailableError: the library of this kind of address is not installed.
    """
    try:
        return fsspec.url_to_fs(address)
    except ImportError as error:
        raise UnavailableError(f"{address}: {error}") from error
    except ValueError as error:
        raise InputError(f"{address}: {error}; give a path, or an address such as s3://bucket/folder") from error


def hub_file(repository: str, name: str) -> Path:
    """Download a file of a data set of the Hugging Face hub into its cache (``HF_HOME``).

    Raises:
        InputError: it does not exist; UnreachedError: the hub cannot be reached now.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, repo_type="dataset"))
    except Exception as error:  # the hub's own errors, and those of its http library
        if type(error).__name__ in GONE:
            raise InputError(f"{HUB}{repository}/{name}: cannot be had ({type(error).__name__})") from error
        raise UnreachedError(f"{HUB}{repository}/{name}: cannot be downloaded ({type(error).__name__}); check the connection") from error


def hub_names(repository: str) -> list[str]:
    """List the files of a data set of the Hugging Face hub.

    Raises:
        InputError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    try:
        return HfApi().list_repo_files(repository, repo_type="dataset")
    except Exception as error:
        raise InputError(f"{HUB}{repository}: cannot be listed ({type(error).__name__}); check the connection") from error


def unpacked(archive: Path, cache: Path) -> Path:
    """Unpack an archive and return its glTF file: .glb before .gltf, then the one that lies least deep.

    Raises:
        InputError: it is damaged or too large, a member leaves its folder, or it holds no glTF file.
    """
    folder = cache / f"{archive.stem}-{hashlib.sha256(str(archive.resolve()).encode()).hexdigest()[:12]}"
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            names = [m.filename for m in members if m.filename.lower().endswith((".glb", ".gltf"))]
            if not names:
                kinds = sorted({PurePosixPath(m.filename).suffix.lower() for m in members if not m.is_dir()} - {""})
                raise InputError(f"{archive}: no .glb or .gltf file inside (it holds {', '.join(kinds) or 'nothing'}); convert it first")
            if (total := sum(m.file_size for m in members)) > UNPACKED_MOST:
                raise InputError(f"{archive}: unpacks to {total / 2**30:.0f} GiB; at most {UNPACKED_MOST >> 30} are allowed")
            if bad := [m.filename for m in members if ".." in PurePosixPath(m.filename).parts or m.filename.startswith(("/", "\\"))]:
                raise InputError(f"{archive}: {bad[0]} leaves the archive's folder, which is not allowed")
            if not folder.is_dir():
                with temporary_folder(folder) as fresh:
                    for member in members:
                        _extract(packed, member, fresh)
                    (fresh / ".lock").unlink(missing_ok=True)
                    if not folder.is_dir():  # another process may have been faster
                        fresh.replace(folder)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{archive}: the archive cannot be unpacked ({error})") from error
    return folder / min(names, key=lambda n: (not n.lower().endswith(".glb"), n.count("/"), n))


def _extract(packed: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Unpack a member, never more bytes than it announces."""
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(member) as source, target.open("wb") as written:
        left = member.file_size
        while left > 0 and (block := source.read(min(left, 1 << 20))):
            written.write(block)
            left -= len(block)
