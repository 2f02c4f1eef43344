"""PLY files as tables: the header, and elements of numbers in binary form, whatever their types and order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chronosplat.shapes import InputError

TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
MAX_HEADER = 1 << 20  # bytes


@dataclass(frozen=True)
class Ply:
    """A PLY file.

    Attributes:
        elements: the requested elements by name, as structured arrays [N].
        names: of all elements of the file.
        comments: the text of the comment lines.
    """

    elements: dict[str, NDArray[Any]]
    names: tuple[str, ...]
    comments: tuple[str, ...]

    def columns(self, element: str) -> dict[str, NDArray[np.float32]]:
        """Return the properties of an element as float32 columns by name; none if the file lacks it."""
        table = self.elements.get(element)
        with np.errstate(over="ignore", invalid="ignore"):
            return {} if table is None else {name: table[name].astype(np.float32) for name in table.dtype.names or ()}

    def numbers(self, name: str, count: int) -> list[float]:
        """Return the finite numbers of the comment that starts with ``name``; none if it is missing or damaged."""
        for words in (comment.split() for comment in self.comments):
            if words[:1] == [name] and len(words) == count + 1:
                try:
                    found = [float(word) for word in words[1:]]
                except ValueError:
                    return []
                return found if bool(np.isfinite(found).all()) else []
        return []


def read_elements(path: Path, *wanted: str) -> Ply:
    """Read elements of a binary PLY. Nothing is allocated before the sizes fit the file.

    Raises:
        InputError: no file, not a binary PLY, damaged, or cut short.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
        lines, start = _header(path, head)
        layout = _layout(path, lines, _order(path, lines))
        size, at, elements = path.stat().st_size, start, {}
        for name, count, dtype in layout:
            if set(wanted) <= set(elements):
                break
            if dtype is None:
                raise InputError(f"{path}: the element {name} before the Gaussians holds lists, which have no fixed size")
            end = at + count * dtype.itemsize
            if name in wanted:
                if end > size:
                    raise InputError(f"{path}: cut short ({max(0, size - at)} of {end - at} bytes)")
                file.seek(at)
                elements[name] = np.frombuffer(file.read(end - at), dtype, count)
            at = end
    names = tuple(name for name, _, _ in layout)
    return Ply(elements, names, tuple(line.partition("comment ")[2] for line in lines if line.startswith("comment ")))


def _header(path: Path, head: bytes) -> tuple[list[str], int]:
    """The header's lines, and where the data starts."""
    ends = [(head.find(end), len(end)) for end in (b"\nend_header\n", b"\nend_header\r\n")]
    found = min(((at, length) for at, length in ends if at >= 0), default=None)
    if head[:4] not in (b"ply\n", b"ply\r") or found is None:
        raise InputError(f"{path}: not a PLY file")
    text = head[: found[0]].decode("ascii", "replace").split("\n")
    return [line.strip() for line in text if line.strip()], sum(found)


def _order(path: Path, lines: list[str]) -> str:
    """The byte order."""
    form = next((line.split()[1:2] for line in lines if line.startswith("format ")), [])
    if form and form[0] in ORDERS:
        return ORDERS[form[0]]
    if form == ["ascii"]:
        raise InputError(f"{path}: expected a binary PLY, got ASCII; save it as binary PLY in the program that wrote it")
    raise InputError(f"{path}: expected a binary PLY, got the format {' '.join(form) or 'none'}")


def _layout(path: Path, lines: list[str], order: str) -> list[tuple[str, int, np.dtype[Any] | None]]:
    """Name, count and row type of every element; None for rows that hold lists."""
    found: list[tuple[str, int, list[tuple[str, str]] | None]] = []
    for words in (line.split() for line in lines):
        if words[0] == "element":
            if len(words) != 3 or not words[2].isdigit() or len(words[2]) > 15:
                raise InputError(f"{path}: damaged header, expected 'element NAME COUNT', got {' '.join(words)!r}")
            found.append((words[1], int(words[2]), []))
        elif words[0] == "property":
            if not found:
                raise InputError(f"{path}: damaged header, a property before the first element")
            name, count, properties = found[-1]
            if words[1:2] == ["list"]:
                found[-1] = (name, count, None)
            elif len(words) != 3 or words[1] not in TYPES:
                raise InputError(f"{path}: damaged header, expected 'property TYPE NAME', got {' '.join(words)!r}")
            elif properties is not None:
                properties.append((words[2], order + TYPES[words[1]]))
    try:
        return [(name, count, None if properties is None else np.dtype(properties)) for name, count, properties in found]
    except ValueError as error:
        raise InputError(f"{path}: damaged header ({error})") from error
