"""The registry of edits. An edit is a frozen dataclass: its fields are its parameters, its record is their JSON.

A new edit is one class in ``kinds/`` that is decorated with ``@edit_kind(name)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from chronosplat.events import Events
from chronosplat.scenes import Editable, Scene
from chronosplat.shapes import InputError

Kind = TypeVar("Kind", bound="type[Edit]")


@dataclass(frozen=True)
class Edit(ABC):
    """Base class of edits. Positions are in the capture's world, times in its seconds."""

    name: ClassVar[str] = ""

    def validate(self) -> None:
        """Refuse parameters that are not finite or out of range.

        Raises:
            InputError: which one, and what is expected.
        """
        for entry in fields(self):
            value = getattr(self, entry.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) for number in numbers if isinstance(number, float | int)):
                raise self.wrong(entry.name, "finite numbers")
        self.check()

    def check(self) -> None:  # noqa: B027 - most edits have nothing to check
        """Refuse parameters that are out of range.

        Raises:
            InputError: which one, and what is expected.
        """

    @abstractmethod
    def apply(self, scene: Editable, events: Events) -> Scene:
        """Return the edited scene; ``edit`` refuses one without Gaussians."""

    def wrong(self, parameter: str, expected: str) -> InputError:
        """An error about a parameter."""
        value = getattr(self, parameter)
        shown = " ".join(f"{number:g}" for number in value) if isinstance(value, tuple) else value
        return InputError(f"{self.name}: {parameter}: expected {expected}, got {shown}")

    def record(self) -> dict[str, Any]:
        """The edit as JSON, without parameters that have their default."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        changed = {entry.name: values[entry.name] for entry in fields(self) if values[entry.name] != entry.default}
        return {"edit": self.name} | {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


_KINDS: dict[str, type[Edit]] = {}


def edit_kind(name: str) -> Callable[[Kind], Kind]:
    """Register a class as the edit of a name."""

    def register(cls: Kind) -> Kind:
        cls.name = name
        _KINDS[name] = cls
        return cls

    return register


def edit_kinds() -> dict[str, type[Edit]]:
    """All edits by name."""
    package = import_module("chronosplat.edit.kinds")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return dict(_KINDS)


def edits_from_records(records: Iterable[Any]) -> list[Edit]:
    """Read edits from their JSON.

    Raises:
        InputError: an unknown edit or parameter, one that is missing, or a value that does not fit.
    """
    return [_from_record(record) for record in records]


def _from_record(record: Any) -> Edit:
    kinds = edit_kinds()
    name = record.get("edit") if isinstance(record, dict) else None
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InputError(f"edits: expected objects with edit: {', '.join(kinds)}; got {str(record)[:80]!r}")
    values = {key: value for key, value in record.items() if key != "edit"}
    hints = _hints(kind)
    unknown = next((key for key in values if key not in hints), None)
    if unknown is not None:
        raise InputError(f"{name}: unknown parameter {str(unknown)[:40]!r}; known: {', '.join(hints)}")
    missing = next((f.name for f in fields(kind) if f.default is MISSING and f.name not in values), None)
    if missing is not None:
        raise InputError(f"{name}: {missing} is missing")
    try:
        step = kind(**{key: _value(hints[key], value) for key, value in values.items()})
    except (TypeError, OverflowError) as error:
        raise InputError(f"{name}: {error}") from error
    step.validate()
    return step


@cache
def _hints(kind: type[Edit]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {entry.name: hints[entry.name] for entry in fields(kind)}


def _value(hint: Any, value: Any) -> Any:
    """A value of JSON as the type of a field.

    Raises:
        TypeError: it does not fit.
    """
    if isinstance(hint, UnionType):
        options = [option for option in get_args(hint) if option is not NoneType]
        return None if value is None else _value(options[0], value)
    if get_origin(hint) is tuple and isinstance(value, list | tuple) and len(value) == len(get_args(hint)):
        return tuple(_value(inner, one) for inner, one in zip(get_args(hint), value, strict=True))
    if hint is float and isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    wanted = f"{len(get_args(hint))} numbers" if get_origin(hint) is tuple else getattr(hint, "__name__", str(hint))
    raise TypeError(f"expected {wanted}, got {str(value)[:40]!r}")
