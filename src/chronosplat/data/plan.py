"""The plan of a data set: its recipe and its list of objects, cut into shards; written once, before the first shard."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import chronosplat
from chronosplat.data.recipe import Recipe
from chronosplat.data.sample import ShardOptions
from chronosplat.data.shards import ShardRecord
from chronosplat.data.sources.asset import Asset
from chronosplat.data.store import Store
from chronosplat.shapes import InputError

PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What a data set is made of. Shard i holds the clips of ``part(i)``, whoever makes it.

    Attributes:
        source: as the user gave it. storage: how images are stored. assets: sorted by uid.
    """

    source: str
    recipe: Recipe
    storage: ShardOptions
    assets: tuple[Asset, ...]

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return -(-len(self.assets) // self.recipe.objects)

    @property
    def digest(self) -> str:
        """Return a hash of the recipe, the storage and the objects' uids; each shard's record carries it."""
        facts = [asdict(self.recipe), asdict(self.storage), [asset.uid for asset in self.assets]]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def has_made(self, record: ShardRecord) -> bool:
        """Whether a shard is one of this plan's; one that does not say counts."""
        return record.notes.get("plan", self.digest) == self.digest

    def part(self, index: int) -> tuple[Asset, ...]:
        """Return the objects of a shard."""
        return self.assets[index * self.recipe.objects : (index + 1) * self.recipe.objects]

    def to_json(self) -> str:
        """Return the plan's file."""
        head = {"made_by": f"chronosplat {chronosplat.__version__}", "source": self.source}
        head |= {"recipe": asdict(self.recipe), "storage": asdict(self.storage)}
        return json.dumps(head | {"assets": [asset.as_dict() for asset in self.assets]}, indent=0) + "\n"

    @staticmethod
    def from_json(text: bytes, where: str) -> Plan:
        """Read a plan.

        Raises:
            InputError: it is damaged.
        """
        try:
            meta = json.loads(text)
            recipe, storage = _recipe(meta["recipe"]), ShardOptions(**meta["storage"])
            return Plan(meta["source"], recipe, storage, tuple(Asset.from_dict(entry) for entry in meta["assets"]))
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: not the plan of a data set ({error!r}); choose another output folder") from error


def _recipe(values: dict[str, Any]) -> Recipe:
    """Build a recipe from JSON, where tuples are lists."""
    if unknown := values.keys() - {f.name for f in fields(Recipe)}:
        raise InputError(f"recipe: unknown {', '.join(sorted(unknown))}; a newer chronosplat began this data set")
    values["licences"] = tuple(values["licences"])
    return Recipe(**values)


def read_plan(store: Store) -> Plan | None:
    """Return the plan of a data set that was begun; None if there is none.

    Raises:
        InputError: it is damaged, or the store cannot be reached.
    """
    return Plan.from_json(store.read(PLAN), store.where(PLAN)) if store.exists(PLAN) else None


@lru_cache(maxsize=2)
def plan_at(address: str) -> Plan:
    """Return the plan at an address; a worker reads it once.

    Raises:
        InputError: there is none.
    """
    plan = read_plan(Store.at(address))
    if plan is None:
        raise InputError(f"{address}: no {PLAN}; it was deleted, or the workers cannot see this folder")
    return plan


def check_same(found: Plan, wanted: Plan, address: str) -> None:
    """Refuse to continue a data set with another recipe.

    Raises:
        InputError: naming the first difference.
    """
    pairs = [("source", found.source, wanted.source)]
    for one, other in ((found.recipe, wanted.recipe), (found.storage, wanted.storage)):
        pairs += [(f.name, getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    for name, was, now in pairs:
        if was != now:
            raise InputError(
                f"{address}: holds a data set with {name} {was}, not {now}; choose another output, or continue with its options"
            )
