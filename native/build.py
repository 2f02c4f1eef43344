"""Compile the native library with the compiler of the ``ziglang`` package.

The wheel build (``hatch_build.py``) runs it; manually: ``python native/build.py OUTPUT [TARGET]``.
The flags are those of fast-math without ``-ffinite-math-only``, because NaN is detected by comparisons and culled.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
    "-fno-sanitize=all",
    "-fno-strict-aliasing",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-freciprocal-math",
]
# The mesh rasteriser computes the same bytes on every processor, so that the shards of a mixed cluster are equal.
STRICT_FLAGS = ["-ffp-contract=off", "-fno-associative-math", "-fno-reciprocal-math"]
X86_LEVELS = {"chronosplat_v2": "x86_64_v2", "chronosplat_v3": "x86_64_v3", "chronosplat_v4": "x86_64_v4"}
# target -> (zig triple, wheel platform tag); manylinux2014 requires glibc 2.17
TARGETS = {
    "linux-x86_64": ("x86_64-linux-gnu.2.17", "manylinux2014_x86_64"),
    "linux-aarch64": ("aarch64-linux-gnu.2.17", "manylinux2014_aarch64"),
    "darwin-arm64": ("aarch64-macos.11.0", "macosx_11_0_arm64"),
}


def host_target() -> str:
    """Return the name in TARGETS of this machine."""
    name = f"{platform.system().lower()}-{platform.machine().lower()}"
    if name not in TARGETS:
        raise SystemExit(f"chronosplat has no native build for {name}; known: {', '.join(TARGETS)}")
    return name


def compile_library(output: Path, target: str | None = None) -> None:
    """Build the shared library for ``target`` (default: this machine) and write it atomically to ``output``."""
    target = target or host_target()
    triple = TARGETS[target][0]
    zig = [sys.executable, "-m", "ziglang", "c++", "-target", triple]
    levels = X86_LEVELS if target.endswith("x86_64") else {"chronosplat_plain": None}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (HERE / f"{name}.cpp", f"{name}_{ns}.o", [f"-DCHRONOSPLAT_ISA={ns}", *extra] + ([f"-mcpu={cpu}"] if cpu else []))
            for ns, cpu in levels.items()
            for name, extra in (("splat", []), ("optim", []), ("mesh", STRICT_FLAGS))
        ]
        jobs.append((HERE / "dispatch.cpp", "dispatch.o", []))

        def compile_one(job: tuple[Path, str, list[str]]) -> str:
            source, name, extra = job
            path = str(Path(folder) / name)
            subprocess.run([*zig, *FLAGS, *extra, "-c", str(source), "-o", path], check=True)
            return path

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, jobs))
        output.parent.mkdir(parents=True, exist_ok=True)
        fresh = output.with_suffix(".tmp")
        name = [f"-Wl,-install_name,@rpath/{output.name}"] if target.startswith("darwin") else []  # else it is the path of the build
        subprocess.run([*zig, "-shared", "-nostdlib++", "-s", *name, *objects, "-o", str(fresh)], check=True)
        fresh.replace(output)


if __name__ == "__main__":
    compile_library(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
