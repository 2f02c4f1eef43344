"""The clips of a data set by number, and the order in which a run reads them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chronosplat.data.sample import StoredClip
from chronosplat.data.shards import Entry, read_clip, read_records
from chronosplat.data.store import Store
from chronosplat.shapes import InputError

ORDER = 1  # tells this use of a seed from others
KEPT = 8  # clips whose descriptions stay parsed


@dataclass(frozen=True)
class Place:
    """Where a clip is."""

    address: str
    shard: str
    entry: Entry


class ClipSet:
    """All clips of one or several data sets, sorted by key; picklable for worker processes.

    A clip is one request of a few megabytes, so that any order of clips is as good as any other. Files on this machine are
    mapped, and only the frames that are used are read.

    Args:
        address: the data set's folder, anywhere that fsspec reads; or several.
        exclude: keys and uids to leave out.

    Raises:
        InputError: no finished shards, a damaged record, two clips with one key, or nothing left.
    """

    def __init__(self, address: str | Path | Sequence[str | Path], exclude: Iterable[str] = ()) -> None:
        addresses = [str(one) for one in ([address] if isinstance(address, str | Path) else address)]
        self.address, out = ", ".join(addresses), frozenset(exclude)
        places = [Place(one, record.file, entry) for one in addresses for record in read_records(Store.at(one)) for entry in record.entries]
        self.places = sorted((p for p in places if not {p.entry.key, p.entry.uid} & out), key=lambda p: p.entry.key)
        keys = [p.entry.key for p in self.places]
        if doubled := [a for a, b in pairwise(keys) if a == b]:
            raise InputError(f"{self.address}: two clips with the key {doubled[0]}; keep one of their shards")
        if not self.places:
            raise InputError(f"{self.address}: none of its {len(places)} clips is left", "see {exclude}", exclude=...)
        self._kept: OrderedDict[int, StoredClip] = OrderedDict()

    def __len__(self) -> int:
        return len(self.places)

    def clip(self, index: int) -> StoredClip:
        """Return a clip.

        Raises:
            InputError: it is damaged.
        """
        if index not in self._kept:
            place = self.places[index]
            self._kept[index] = read_clip(Store.at(place.address), place.shard, place.entry)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[index]

    def usable(self, wanted: int) -> int:
        """Return how many clips can be used: all of them."""
        return len(self)

    def digest(self) -> str:
        """Return a hash of all clips: the same clips in other shards, or elsewhere, have the same."""
        return sha256("".join(p.entry.sha256 for p in self.places).encode()).hexdigest()[:16]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": OrderedDict()}  # mapped files cannot be pickled


def clip_at(slot: int, count: int, seed: int) -> int:
    """Return which of ``count`` clips comes at a position of the endless order: every epoch is another permutation."""
    return int(_permutation(slot // count, count, seed)[slot % count])


@lru_cache(maxsize=4)
def _permutation(epoch: int, count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng((ORDER, seed, epoch)).permutation(count)
