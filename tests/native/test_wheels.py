"""What the release wheels hold. The hook is tested with a fake compiler; ``make wheels-check`` runs the rest on dist/."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from struct import unpack_from
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "native"))

import build  # noqa: E402 - native/build.py, by the path above

LIBRARY = "chronosplat/_native/libchronosplat.so"
IN_CHECKOUT = ROOT / "src" / LIBRARY
DIST = os.environ.get("CHRONOSPLAT_WHEELS")
on_dist = pytest.mark.skipif(not DIST, reason="for make wheels-check")
every_target = pytest.mark.parametrize("target", build.TARGETS)
PROMISED = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-aarch64.so.1", "/usr/lib/libSystem.B.dylib"}


@dataclass
class Library:
    """What a shared library is for, offers and needs."""

    machine: str
    exports: set[str] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    oldest: tuple[int, ...] = ()  # glibc or macOS that it runs on


def read_library(data: bytes) -> Library:
    """Of an ELF or a Mach-O file of 64 bits, little endian."""
    return read_elf(data) if data[:4] == b"\x7fELF" else read_macho(data)


def text(data: bytes, start: int) -> str:
    return data[start : data.index(0, start)].decode()


def read_elf(data: bytes) -> Library:
    found = Library("linux-" + {62: "x86_64", 183: "aarch64"}[unpack_from("<H", data, 18)[0]])
    (table,), (size, count) = unpack_from("<Q", data, 40), unpack_from("<HH", data, 58)
    sections = [unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    for _, kind, _, _, start, length, link, entries, _, _ in sections:
        strings = sections[link][4]
        if kind == 11:  # dynamic symbols; those of section 0 are wanted, not offered
            symbols = [unpack_from("<IBBH", data, at) for at in range(start, start + length, 24)]
            found.exports |= {text(data, strings + name) for name, _, _, section in symbols if section}
        elif kind == 6:  # the dynamic section; tag 1 names a library
            tags = [unpack_from("<QQ", data, at) for at in range(start, start + length, 16)]
            found.libraries |= {text(data, strings + value) for tag, value in tags if tag == 1}
        elif kind == 0x6FFFFFFE:  # versions of wanted symbols: a chain of libraries, each with a chain of names
            for _ in range(entries):
                _, names, _, at, step = unpack_from("<HHIII", data, start)
                at += start
                for _ in range(names):
                    _, _, _, name, further = unpack_from("<IHHII", data, at)
                    version = text(data, strings + name).removeprefix("GLIBC_")
                    found.oldest = max(found.oldest, tuple(map(int, version.split("."))))
                    at += further
                start += step
    return found


def read_macho(data: bytes) -> Library:
    magic, processor, _, _, commands = unpack_from("<IIIII", data)
    assert magic == 0xFEEDFACF
    found, at = Library("darwin-" + {0x0100000C: "arm64"}[processor]), 32
    for _ in range(commands):
        kind, size = unpack_from("<II", data, at)
        if kind == 0x2:  # symbols; a type of 0x0F is external and defined here
            start, count, strings, _ = unpack_from("<IIII", data, at + 8)
            symbols = [unpack_from("<IB", data, start + 16 * i) for i in range(count)]
            found.exports |= {text(data, strings + name).removeprefix("_") for name, flags in symbols if flags == 0x0F}
        elif kind == 0xC:
            found.libraries.add(text(data, at + unpack_from("<I", data, at + 8)[0]))
        elif kind == 0xD:  # its own name must not tell where it was built
            assert text(data, at + unpack_from("<I", data, at + 8)[0]) == f"@rpath/{Path(LIBRARY).name}"
        elif kind == 0x32:
            (version,) = unpack_from("<I", data, at + 12)
            found.oldest = (version >> 16, version >> 8 & 255)
        at += size
    return found


def doors() -> set[str]:
    """The C functions that the sources mark as visible."""
    mark = re.compile(r'^(?:EXPORT|extern "C" __attribute__\(\(visibility\("default"\)\)\)) \w+ (\w+)\(', re.MULTILINE)
    return {name for path in (ROOT / "native").glob("*.cpp") for name in mark.findall(path.read_text())}


def check_library(data: bytes, target: str) -> None:
    found = read_library(data)
    assert found.machine == target
    assert {name for name in found.exports if not name.startswith("_")} == doors()
    assert found.libraries <= PROMISED
    assert found.oldest <= ((11, 0) if target.startswith("darwin") else (2, 17))


def check_contents(wheel: zipfile.ZipFile, target: str) -> None:
    tag = build.TARGETS[target][1]
    names = wheel.namelist()
    assert len(names) == len(set(names))
    files = [p.relative_to(ROOT / "src") for p in (ROOT / "src" / "chronosplat").rglob("*") if p.is_file()]
    expected = {str(p) for p in files if not {"_native", "__pycache__"} & set(p.parts)} | {LIBRARY}
    assert {name for name in names if name.startswith("chronosplat/")} == expected
    assert any(name.endswith(".safetensors") and "/models/lrm4d/shipped/" in name for name in names)
    info = {name.split("/", 1)[1]: name for name in names if not name.startswith("chronosplat/")}
    assert set(info) == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    facts = wheel.read(info["WHEEL"]).decode().splitlines()
    assert f"Tag: py3-none-{tag}" in facts
    assert "Root-Is-Purelib: false" in facts


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """What the hook has compiled, and where to; the file holds the target's name."""
    calls: list[tuple[Path, str]] = []

    def compile_library(output: Path, target: str) -> None:
        calls.append((output, target))
        if output != IN_CHECKOUT:  # it is in use
            output.write_text(target)

    monkeypatch.setattr(build, "compile_library", compile_library)
    return calls


@every_target
def test_promises_of_the_triple_and_of_the_tag_agree(target: str) -> None:
    triple, tag = build.TARGETS[target]
    machine = target.split("-")[1]
    assert (triple, tag) in [
        (f"{machine}-linux-gnu.2.17", f"manylinux2014_{machine}"),
        ("aarch64-macos.11.0", f"macosx_11_0_{machine}"),
    ]


def hook_and_data(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The hook as the builder finds it, and what the builder would hand it."""
    builder = WheelBuilder(str(ROOT))
    (hook,) = builder.get_build_hooks(str(folder)).values()
    data = builder.get_default_build_data()
    builder.set_build_data_defaults(data)
    return hook, data


@every_target
def test_library_is_compiled_outside_the_checkout(
    target: str, compiled: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHRONOSPLAT_TARGET", target)
    hook, data = hook_and_data(tmp_path)
    hook.initialize("standard", data)
    ((output, for_target),) = compiled
    assert for_target == target
    assert not output.is_relative_to(ROOT)
    assert data["force_include"] == {str(output): LIBRARY}
    assert data["tag"] == f"py3-none-{build.TARGETS[target][1]}"
    hook.finalize("standard", data, "")
    assert not output.parent.exists()


def test_wheel_for_another_machine(compiled: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHRONOSPLAT_TARGET", "darwin-arm64")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert Path(path).name.endswith("-py3-none-macosx_11_0_arm64.whl")
    with zipfile.ZipFile(path) as wheel:
        check_contents(wheel, "darwin-arm64")
        assert wheel.read(LIBRARY) == b"darwin-arm64"
    assert not compiled[0][0].exists()


def test_an_unknown_target_is_named(compiled: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHRONOSPLAT_TARGET", "beos-ppc")
    with pytest.raises(SystemExit, match=r"linux-x86_64, .*'beos-ppc'"):
        list(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    assert not compiled


def test_editable_install_compiles_for_this_machine_in_the_checkout(
    compiled: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHRONOSPLAT_TARGET", "darwin-arm64")
    monkeypatch.setattr(build, "host_target", lambda: "linux-aarch64")
    hook, data = hook_and_data(tmp_path)
    hook.initialize("editable", data)
    hook.finalize("editable", data, "")
    assert compiled == [(IN_CHECKOUT, "linux-aarch64")]
    assert not data["force_include"]


@every_target
def test_compiler_is_told_the_triple(target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        commands.append(command)
        Path(command[-1]).write_bytes(b"")

    monkeypatch.setattr(subprocess, "run", run)
    build.compile_library(tmp_path / "new" / "library.so", target)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["library.so"]
    assert all(command[command.index("-target") + 1] == build.TARGETS[target][0] for command in commands)
    assert sum("-shared" in command for command in commands) == 1


@pytest.mark.skipif(not IN_CHECKOUT.is_file(), reason="the checkout has no library of its own")
def test_library_of_the_checkout_offers_and_needs_what_it_should() -> None:
    check_library(IN_CHECKOUT.read_bytes(), build.host_target())


@on_dist
@every_target
def test_released_wheel(target: str) -> None:
    (path,) = Path(str(DIST)).glob(f"chronosplat-*-py3-none-{build.TARGETS[target][1]}.whl")
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        check_contents(wheel, target)
        check_library(wheel.read(LIBRARY), target)


@on_dist
def test_installed_wheel_renders_where_no_compiler_is() -> None:
    import chronosplat as cs
    from chronosplat.cameras import orbit

    torch = pytest.importorskip("torch")
    assert not any(shutil.which(name) for name in ("cc", "c++", "gcc", "g++", "clang", "zig"))
    assert importlib.util.find_spec("ziglang") is None
    assert not Path(cs.__file__).is_relative_to(ROOT)
    assert not Path.cwd().is_relative_to(ROOT)
    random = torch.Generator().manual_seed(0)
    scene = cs.Gaussians4D(
        means=(torch.randn(200, 3, generator=random) * 0.2).requires_grad_(),
        velocities=torch.randn(200, 3, generator=random) * 0.1,
        time_centers=torch.rand(200, generator=random),
        time_sigmas=torch.full((200,), 0.3),
        quats=torch.randn(200, 4, generator=random),
        scales=torch.full((200, 3), 0.03),
        opacities=torch.full((200,), 0.8),
        colors=torch.rand(200, 3, generator=random).requires_grad_(),
    )
    gradients = {}
    for backend in ("cpu", "reference"):
        out = cs.render(scene, orbit([0, 90], size=48), [0.2, 0.8], backend=backend)
        gradients[backend] = torch.autograd.grad((out.rgb**2).mean(), [scene.means, scene.colors])
        assert 0.05 < float(out.alpha.detach().mean()) < 0.95
    for fast, exact in zip(gradients["cpu"], gradients["reference"], strict=True):
        assert float((fast - exact).norm() / exact.norm()) < 1e-3
