"""Packing: data sets and captures of other layouts to shards, and shards to other layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from chronosplat.captures.load import is_capture
from chronosplat.data.clip import Clip, spelled_key
from chronosplat.data.clipset import ClipSet
from chronosplat.data.convert import clip_of_capture, save_clip
from chronosplat.data.l4gm_tars import l4gm_uids, read_l4gm, write_datalists, write_l4gm
from chronosplat.data.lease import Lease
from chronosplat.data.plan import PLAN
from chronosplat.data.sample import ShardOptions
from chronosplat.data.shards import finished_shard, shard_name, write_shard
from chronosplat.data.store import Store
from chronosplat.events import Events
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class PackOptions:
    """How clips are packed."""

    form: Literal["shards", "l4gm", "captures"] = "shards"
    """shards, l4gm (the tars of L4GM's loader) or captures (folders in the D-NeRF form)."""
    clips: int = 100
    """Clips of a shard."""
    quality: int | None = None
    """Quality of lossy WebP, 0 to 100; None is lossless."""
    size: int | None = None
    """Resize captures to this longer side in pixels."""

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise InputError(f"clips: expected at least 1 in a shard, got {self.clips}")


@dataclass(frozen=True)
class Packed:
    """One clip of a source, not loaded yet: where it is, and how it is read."""

    kind: Literal["shards", "l4gm", "capture"]
    address: str
    name: str = ""

    @property
    def key(self) -> str:
        """The key that its clip has."""
        return self.name if self.kind == "shards" else spelled_key(self.name.removesuffix(".tar") or Path(self.address).resolve().name)


def find_clips(source: str) -> list[Packed]:
    """Find the clips of a source: a data set of shards, a folder of L4GM's tars, a capture, or a folder of captures.

    Raises:
        InputError: it is none of these.
    """
    store = Store.at(source)
    if any(name.startswith("shard-") for name in store.names(".json")):
        return [Packed("shards", source, key) for key in _opened(source)[1]]
    folder = store.folder
    if folder is not None and folder.exists():
        if uids := l4gm_uids(folder):
            return [Packed("l4gm", str(folder), uid) for uid in uids]
        if is_capture(folder):
            return [Packed("capture", str(folder))]
        if found := [Packed("capture", str(path)) for path in sorted(folder.iterdir()) if is_capture(path)]:
            return found
    raise InputError(f"{source}: expected a data set of shards, a folder of L4GM's tars, a capture, or a folder of captures")


@lru_cache(maxsize=4)
def _opened(address: str) -> tuple[ClipSet, dict[str, int]]:
    """Open a data set, and number its clips by key."""
    clips = ClipSet(address)
    return clips, {place.entry.key: i for i, place in enumerate(clips.places)}


def check_keys(found: list[Packed]) -> None:
    """Refuse clips of which one would take the place of another.

    Raises:
        InputError: naming two clips with one key.
    """
    known: dict[str, Packed] = {}
    for one in found:
        if (other := known.setdefault(one.key, one)) is not one:
            raise InputError(f"{one.address}: has the key {one.key}, like {other.address}; rename one of them, or pack them apart")


def load_packed(found: Packed, size: int | None = None, events: Events | None = None) -> Clip:
    """Load a clip that was found.

    Raises:
        InputError: it is damaged.
    """
    if found.kind == "shards":
        clips, numbers = _opened(found.address)
        return clips.clip(numbers[found.name]).clip()
    if found.kind == "l4gm":
        return read_l4gm(Path(found.address), found.name, l4gm_uids(Path(found.address))[found.name])
    return clip_of_capture(Path(found.address), size, events)


def pack(sources: list[str], output: str, options: PackOptions = PackOptions(), events: Events | None = None) -> int:
    """Pack all clips of some sources. Finished shards are not written again, so that the same command continues a run.

    One run at a time writes to an output.

    Returns:
        The number of clips.

    Raises:
        InputError: nothing to pack, a clip that cannot be read or does not fit the form, two clips with one key, another run, or an
            output that holds something else.
    """
    _opened.cache_clear()  # a data set may have grown
    events, found = events or Events(), [clip for source in sources for clip in find_clips(source)]
    if not found:
        raise InputError("sources: none given; give captures, folders of captures, or data sets")
    check_keys(found)
    if (store := Store.at(output)).exists(PLAN):
        raise InputError(f"{output}: holds what data render makes", "choose another {output}", output=...)
    if options.form != "shards" and store.folder is None:
        raise InputError(f"{output}: the form {options.form} is written to a folder of this machine")
    lease = Lease(store)
    try:
        _write_clips(found, output, options, lease, events)
    finally:
        lease.release("interrupted")
    return len(found)


def _write_clips(found: list[Packed], output: str, options: PackOptions, lease: Lease, events: Events) -> None:
    def clips(part: list[Packed], first: int) -> Iterator[Clip]:
        for done, one in enumerate(part):
            lease.tell(clips=first + done)
            yield load_packed(one, options.size, events)
            events.progress("packing", first + done + 1, len(found))

    if options.form == "shards":
        for index, first in enumerate(range(0, len(found), options.clips)):
            part, address = found[first : first + options.clips], f"{output.rstrip('/')}/{shard_name(index)}"
            record = finished_shard(address)
            if record is None:
                write_shard(address, clips(part, first), ShardOptions(options.quality), {"packed": [_described(one) for one in part]})
            elif record.notes.get("packed") != [_described(one) for one in part]:
                raise InputError(f"{address}: holds other clips", "choose another {output}", output=...)
        return
    folder = Store.at(output).folder
    assert folder is not None
    if options.form == "l4gm":
        write_datalists(folder, [write_l4gm(clip, folder) for clip in clips(found, 0)])
    else:
        for clip in clips(found, 0):
            save_clip(clip, folder / clip.key)


def _described(found: Packed) -> dict[str, str]:
    return {"kind": found.kind, "address": found.address, "name": found.name}
