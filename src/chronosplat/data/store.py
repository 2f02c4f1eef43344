"""Where shards lie: a folder, or any address that fsspec opens (``s3://bucket/data``, ``memory://data``, ``filecache::s3://...``)."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from chronosplat.files import atomic_file
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Store:
    """A folder of a file system; names are relative to it.

    Attributes:
        fs: the file system. root: the folder's path in it. address: as the user gave it, for messages.
    """

    fs: Any
    root: str
    address: str

    @staticmethod
    def at(address: str | Path) -> Store:
        """Open a folder's address; nothing is read yet.

        Raises:
            InputError: an unknown protocol, one whose package is not installed, or an address that cannot be reached.
        """
        address = str(address)
        with _reported(address):
            fs, root = fsspec.url_to_fs(address)
        return Store(fs, root.rstrip("/"), address)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None elsewhere."""
        return Path(self.root) if isinstance(self.fs, LocalFileSystem) else None

    def path(self, name: str) -> str:
        """Return a file's path in the file system."""
        return f"{self.root}/{name}"

    def where(self, name: str) -> str:
        """Return a file's address for messages."""
        return f"{self.address.rstrip('/')}/{name}"

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read a file, or its bytes from ``start`` to ``end``.

        Raises:
            InputError: it is missing, or cannot be read.
        """
        with _reported(self.where(name)):
            return self.fs.cat_file(self.path(name), start, end)

    def view(self, name: str, start: int, end: int) -> bytes | memoryview:
        """Return a file's bytes from ``start`` to ``end``: mapped, if it lies on this machine, so that only what is used is read.

        Raises:
            InputError: the file is missing, or cannot be read.
        """
        if self.folder is None:
            return self.read(name, start, end)
        with _reported(self.where(name)):
            state = (self.folder / name).stat()
            return _mapped(self.path(name), state.st_ino, state.st_mtime_ns, state.st_size)[start:end]

    def read_all(self, names: list[str]) -> dict[str, bytes]:
        """Read many small files at once.

        Raises:
            InputError: one is missing, or cannot be read.
        """
        if not names:
            return {}
        with _reported(self.address):
            found = self.fs.cat([self.path(name) for name in names])
        return {name: found[self.fs._strip_protocol(self.path(name))] for name in names}

    def names(self, suffix: str) -> list[str]:
        """List the files that end with ``suffix``, sorted; none where there is no such folder."""
        with _reported(self.address):
            try:
                self.fs.invalidate_cache()
                listed = self.fs.ls(self.root, detail=False)
            except FileNotFoundError:
                return []
        return sorted(
            name for path in listed if (name := path.rstrip("/").rsplit("/", 1)[-1]).endswith(suffix) and not name.startswith(".")
        )

    def exists(self, name: str) -> bool:
        """Whether a file exists."""
        with _reported(self.where(name)):
            return bool(self.fs.exists(self.path(name)))

    def size(self, name: str) -> int:
        """Return a file's bytes.

        Raises:
            InputError: it is missing.
        """
        with _reported(self.where(name)):
            return int(self.fs.size(self.path(name)))

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file to write; it appears whole when the block ends, and not at all when it raises.

        Raises:
            InputError: the address cannot be written to. A full disk raises OSError.
        """
        if self.folder is not None:
            with atomic_file(self.folder / name) as fresh:
                with fresh.open("wb") as file:
                    yield file
                fresh.chmod(0o644)
            return
        with _reported(self.where(name), "written"):
            self.fs.makedirs(self.root, exist_ok=True)
        with self.fs.transaction:  # discards the file if the block raises
            with _reported(self.where(name), "written"):
                file = self.fs.open(self.path(name), "wb")
            try:
                yield file
            finally:
                with _reported(self.where(name), "written"):
                    file.close()


@lru_cache(maxsize=64)
def _mapped(path: str, inode: int, changed: int, size: int) -> memoryview:
    """Map a file; ``inode`` and ``changed`` tell a file from the one that it replaced."""
    with Path(path).open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")


@contextmanager
def _reported(address: str, verb: str = "read") -> Iterator[None]:
    """Name the address in what a file system raises; each has errors of its own, so all are taken."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{address}: no such file or folder") from error
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{address}: cannot be {verb} ({text})") from error
