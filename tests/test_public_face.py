"""The public names, which are imported on first use."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import chronosplat as cs


@pytest.mark.parametrize("name", cs.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(cs)
    assert getattr(cs, name).__module__.startswith("chronosplat.")


@pytest.mark.parametrize("name", ["render", "export", "refine", "edit"])
def test_a_function_outranks_the_room_of_its_name(name: str) -> None:
    """Importing a room sets it as an attribute of its package, which must not hide the function."""
    imports = f"import chronosplat.{name}, chronosplat as cs; from chronosplat import {name} as again"
    program = f"{imports}; print(callable(cs.{name}), again is cs.{name})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_rooms_are_attributes_and_other_names_are_not() -> None:
    program = "import chronosplat as cs; print(cs.cameras.orbit([0.0]).width, hasattr(cs, 'nothing'), hasattr(cs, '__path__'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["256", "False", "True"]


def test_the_package_runs_as_a_module_without_waiting_for_torch() -> None:
    called = [sys.executable, "-X", "importtime", "-m", "chronosplat"]
    done = subprocess.run([*called, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: chronosplat VERB")
    assert "chronosplat.cli" in done.stderr
    assert not re.search(r"\b(torch|numpy|tyro)\b", done.stderr)
    refused = subprocess.run([*called, "nothing"], capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (2, "chronosplat: unknown verb 'nothing'; see chronosplat --help")
