"""The ABI handshake: Python's mirrors and the C headers agree, and a library that differs is refused when it is loaded."""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import re
from pathlib import Path
from typing import get_args

import pytest

from chronosplat.assets import Shading, Wrap
from chronosplat.render import native
from chronosplat.shapes import UnavailableError

HEADERS = [Path(__file__).parents[2] / "native" / name for name in ("abi.h", "splat.h", "mesh.h", "optim.h")]
# the declarations of the structs, the statuses and the version; a change must raise ABI_VERSION on both sides
DIGEST = "6b8d2843be6dc431"


def source() -> str:
    """The headers without comments."""
    return re.sub(r"//.*", "", "".join(path.read_text() for path in HEADERS))


def declarations() -> dict[str, str]:
    """The body of each struct and enum, by name."""
    return dict(re.findall(r"(?:struct|enum) (\w+) \{(.*?)\};", source(), re.DOTALL))


def fields(body: str) -> list[str]:
    """Names of a struct's fields in order."""
    return [name for line in body.split(";") for name in re.findall(r"(\w+)(?:\[\d+\])?\s*(?:,|$)", line.strip())]


def load(monkeypatch: pytest.MonkeyPatch, library: Path = native.LIBRARY) -> str:
    """Load a library and return the message with which it is refused."""
    monkeypatch.setattr(native, "LIBRARY", library)
    with pytest.raises(UnavailableError) as caught:
        native.library.__wrapped__()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(f"; reinstall chronosplat, or run: python native/build.py {library}")
    return message


def test_the_library_agrees() -> None:
    assert native.abi_difference(native.library()) == ""
    assert native.library().chronosplat_struct_sizes(None, 0) == len(native.MIRRORS)


def test_sizes_are_written_as_far_as_there_is_room() -> None:
    sizes = (ctypes.c_int64 * 13)(*[-1] * 13)
    assert native.library().chronosplat_struct_sizes(sizes, 2) == len(native.MIRRORS)
    assert list(sizes) == [ctypes.sizeof(native.SplatScene), ctypes.sizeof(native.SplatImage), *[-1] * 11]
    for room in (-1, 0):
        native.library().chronosplat_struct_sizes(sizes, room)
    native.library().chronosplat_struct_sizes(sizes, 2**31 - 1)
    assert list(sizes) == [*map(ctypes.sizeof, native.MIRRORS), -1, -1]


@pytest.mark.parametrize("mirror", native.MIRRORS, ids=lambda m: m.__name__)
def test_fields_of_the_mirrors_are_those_of_the_headers(mirror: type[ctypes.Structure]) -> None:
    assert fields(declarations()[mirror.__name__]) == [field[0] for field in mirror._fields_]


def test_statuses_and_version_are_those_of_the_header() -> None:
    statuses = {name: int(value) for name, value in re.findall(r"STATUS_(\w+) = (\d+)", declarations()["Status"])}
    assert statuses == {status.name: status.value for status in native.Status}
    assert re.findall(r"ABI_VERSION = (\d+);", source()) == [str(native.ABI_VERSION)]
    assert {*declarations()} == {m.__name__ for m in native.MIRRORS} | {"Status", "MeshShading", "MeshSlot", "MeshWrap"}


def test_enums_of_meshes_are_those_of_the_header() -> None:
    number = lambda enum: dict(re.findall(r"[A-Z]+_(\w+) = (\d+)", declarations()[enum]))
    assert number("MeshWrap") == {wrap.name: str(wrap.value) for wrap in Wrap}
    assert number("MeshShading") == {name.upper(): str(k) for k, name in enumerate(get_args(Shading))}


def test_a_changed_header_has_a_new_version() -> None:
    words = " ".join(f"{native.ABI_VERSION} {source()}".split())
    assert hashlib.sha256(words.encode()).hexdigest()[:16] == DIGEST, "the ABI changed: raise ABI_VERSION on both sides, then update DIGEST"


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = native.ABI_VERSION
    monkeypatch.setattr(native, "ABI_VERSION", found + 1)
    assert load(monkeypatch).startswith(
        f"native library: {native.LIBRARY} is a stale build (its ABI version is {found}, expected {found + 1}); "
    )


def test_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    larger = type("SplatState", (native.SplatState,), {"_fields_": [("more", ctypes.c_int64)]})
    monkeypatch.setattr(native, "MIRRORS", tuple(larger if m is native.SplatState else m for m in native.MIRRORS))
    assert "(its SplatState has 16 bytes, expected 24)" in load(monkeypatch)
    monkeypatch.setattr(native, "MIRRORS", native.MIRRORS[:-1])
    assert "(it has 11 structs, expected 10)" in load(monkeypatch)


def test_a_library_from_before_the_handshake_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"is a stale build (it has no ABI version, expected {native.ABI_VERSION})" in load(monkeypatch, Path(_ctypes.__file__))


def test_a_missing_and_a_broken_library_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load(monkeypatch, tmp_path / "lib.so").startswith(f"native library: {tmp_path / 'lib.so'} is missing; ")
    (tmp_path / "broken.so").write_bytes(b"\x7fELF")
    assert load(monkeypatch, tmp_path / "broken.so").startswith("native library: does not load on this ")
