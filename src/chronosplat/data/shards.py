"""Shards: WebDataset tar files of clips, each with a record beside it that says where each clip is and what it hashes to.

A data set is a folder at any address: ``shard-000000.tar``, its record ``shard-000000.json``, and so on. A record is written after its
shard, so a shard with a record is whole. Workers write files of their own only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chronosplat.data.clip import KEY, MOST_FRAMES, Clip
from chronosplat.data.sample import BLOCK, VERSION, ShardOptions, StoredClip, encode_sample, parse_sample
from chronosplat.data.store import Store
from chronosplat.shapes import InputError

SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}\.tar")
END = bytes(2 * BLOCK)  # of a tar file
MOST_BYTES = 2**32  # of one clip


@dataclass(frozen=True)
class Entry:
    """A clip in a shard.

    Attributes:
        key, times, views: as the clip says. uid: the source asset's, "" where unknown. licence: SPDX-like, "" where unknown.
        offset, size: its bytes in the tar. sha256: of those bytes, in hexadecimal.
    """

    key: str
    offset: int
    size: int
    sha256: str
    times: int
    views: int
    uid: str = ""
    licence: str = ""


@dataclass(frozen=True)
class ShardRecord:
    """What a shard holds.

    Attributes:
        file: name of the tar. size: its bytes. entries: its clips in order. notes: whatever the writer adds, such as failures; plain JSON.
    """

    file: str
    size: int
    entries: tuple[Entry, ...]
    notes: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the record's file."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str | bytes, where: str) -> ShardRecord:
        """Read a record.

        Raises:
            InputError: it is not a record, or its entries do not fit its size; ``where`` names it.
        """
        try:
            meta = json.loads(text)
            if meta.pop("version") != VERSION:
                raise InputError(f"{where}: a record of another version; this chronosplat reads {VERSION}", "update it")
            record = ShardRecord(**meta | {"entries": tuple(Entry(**entry) for entry in meta["entries"])})
            if not SHARD.fullmatch(record.file):
                raise ValueError(f"file {record.file[:60]!r}")
            position = 0
            for entry in record.entries:
                whole = entry.offset == position and 0 < entry.size <= MOST_BYTES and entry.offset + entry.size <= record.size
                if not (whole and KEY.fullmatch(entry.key) and 0 < entry.times * entry.views <= MOST_FRAMES and len(entry.sha256) == 64):
                    raise ValueError(f"entry {entry.key[:80]!r}")
                position += entry.size
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{where}: not the record of a shard ({type(error).__name__}: {str(error)[:80]})") from error
        return record


def shard_name(index: int) -> str:
    """Return the file name of a data set's shard."""
    return f"shard-{index:06d}.tar"


def record_name(shard: str) -> str:
    """Return the name of a shard's record."""
    return shard.removesuffix(".tar") + ".json"


def split_address(address: str | Path) -> tuple[Store, str]:
    """Split a shard's address into its folder and file name.

    Raises:
        InputError: it does not end with ``.tar``, or cannot be reached.
    """
    folder, _, name = str(address).rpartition("/")
    if not SHARD.fullmatch(name):
        raise InputError(f"{address}: expected the address of a shard, such as DATA/{shard_name(0)}")
    return Store.at(folder or "."), name


def write_shard(
    address: str | Path, clips: Iterable[Clip], options: ShardOptions = ShardOptions(), notes: Mapping[str, Any] | None = None
) -> ShardRecord:
    """Write a shard and then its record, each whole or not at all; one clip at a time is in memory.

    The same clips and options give the same bytes.

    Args:
        address: of the tar, at any address that fsspec opens.
        notes: plain JSON for the record; read after the last clip, so that what makes the clips can fill it.

    Raises:
        InputError: two clips have one key, or the address cannot be written to. A full disk raises OSError.
    """
    store, name = split_address(address)
    entries: list[Entry] = []
    position = 0
    with store.writing(name) as file:
        for clip in clips:
            if any(entry.key == clip.key for entry in entries):
                raise InputError(f"{address}: two clips with the key {clip.key}")
            data = encode_sample(clip, options)
            known = {name: str(clip.facts.get(name, "")) for name in ("uid", "licence")}
            digest = hashlib.sha256(data).hexdigest()
            entries.append(Entry(clip.key, position, len(data), digest, clip.times, clip.views, **known))
            file.write(data)
            position += len(data)
        file.write(END)
    record = ShardRecord(name, position + len(END), tuple(entries), dict(notes or {}))
    with store.writing(record_name(name)) as file:
        file.write(record.to_json().encode())
    return record


def finished_shard(address: str | Path) -> ShardRecord | None:
    """Return the record of a shard that was written whole; None if there is none.

    Raises:
        InputError: the record is damaged, or the address cannot be reached.
    """
    store, name = split_address(address)
    if not store.exists(record_name(name)) or not store.exists(name):
        return None
    return read_record(store, record_name(name))


def read_record(store: Store, name: str) -> ShardRecord:
    """Read one record.

    Raises:
        InputError: it is missing or damaged.
    """
    return ShardRecord.from_json(store.read(name), store.where(name))


def read_records(store: Store) -> list[ShardRecord]:
    """Read all records of a data set, by name; shards without one are not finished and are left out.

    Raises:
        InputError: there are none, or one is damaged.
    """
    names = [name for name in store.names(".json") if name.startswith("shard-")]
    found = store.read_all(names)
    if not found:
        raise InputError(f"{store.address}: no shards in it; expected {shard_name(0)} with its record {record_name(shard_name(0))}")
    return [ShardRecord.from_json(found[name], store.where(name)) for name in names]


def read_clip(store: Store, shard: str, entry: Entry, check: bool = False) -> StoredClip:
    """Read a clip's bytes, in one request.

    Args:
        check: compare the bytes with their hash.

    Raises:
        InputError: they are missing, damaged, or another clip's.
    """
    where, data = store.where(shard), store.view(shard, entry.offset, entry.offset + entry.size)
    if len(data) != entry.size or (check and hashlib.sha256(data).hexdigest() != entry.sha256):
        problem = f"{where}: clip {entry.key} is damaged ({len(data)} of {entry.size} bytes read)"
        raise InputError(problem, "chronosplat data verify lists all that are lost")
    clip = parse_sample(data, where)
    if (clip.key, clip.times, clip.views) != (entry.key, entry.times, entry.views):
        raise InputError(f"{where}: found clip {clip.key} where the record says {entry.key}")
    return clip
