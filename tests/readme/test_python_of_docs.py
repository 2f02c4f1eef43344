"""Every Python block of the README and of docs/ runs, on small data and with cheap settings."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

import chronosplat as cs
from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.evaluate.setups import alternating_canonical
from tests.assets.gltf_kit import full
from tests.data.shard_kit import data_set
from tests.readme.blocks import PAGES, blocks
from tests.viewer.kit import frame_shells, skinned_shell

BLOCKS = [block for page in PAGES for block in blocks(page, "python")]
# what a block is changed to, so that it is cheap here: text -> text; each has to be found in some block
CHEAPER = {
    "steps=700": "steps=8",
    "cs.reconstruct(views)": "cs.reconstruct(views, steps=8)",
    'how="best"': 'steps=8, strategy="free"',
    "(FAST, cameras": "(FAST, steps=8, cameras",
    'body_from_sequence(cs.load_scene("sequence.safetensors"))': (
        'body_from_sequence(cs.load_scene("sequence.safetensors"), replace(FAST, steps=8), size=32)'
    ),
    "size=512, background": "size=32, frames=4, background",
    "in stream:": "in islice(stream, 2):",  # it is endless
    "workers=4": "workers=0",
    "pool=36, inputs=12, targets=24": "pool=8, inputs=4, targets=4",
    '"clips/", exclude=["uid-of-a-test-object"]': '"clips/", exclude=["uid-clip005"]',
    "read(times=[0, 3], views=[5, 40])": "read(times=[0, 3], views=[1, 2])",
    "cameras([0, 3], [5, 40])": "cameras([0, 3], [1, 2])",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the blocks read."""
    folder = tmp_path_factory.mktemp("docs")
    inputs = alternating_canonical(procedural_object(1, "blob"), 32, times=8, samples=1).inputs
    for name in ("outputs/demo/capture", "fox"):
        save_transforms(inputs, folder / name, "train")
    maker = full()
    maker.json["animations"][0]["name"] = "Run"
    maker.save(folder, "fox.glb")
    body = skinned_shell()
    cs.save_scene(replace(body, knots=body.knots - 1), folder / "fox.safetensors")
    cs.save_scene(frame_shells(), folder / "sequence.safetensors")
    data_set(folder / "clips", clips=6)
    return folder


def names(folder: Path) -> dict[str, Any]:
    """What the blocks take as given."""
    views = cs.load_capture(folder / "fox", size=32)
    scene = cs.load_scene(folder / "fox.safetensors")
    still = scene.at(0.5)
    shapes = {name: getattr(still, name)[None] for name in ("means", "quats", "scales", "opacities", "colors")}
    cameras = views.cameras[:2]
    return {
        "cs": cs, "replace": replace, "islice": islice, "views": views, "scene": scene, "cameras": cameras, "times": [0.0, 1.0],
        "viewmats": cameras.viewmats[None].float(), "Ks": cameras.Ks[None].float(), **shapes,
        "rgba_bytes": torch.zeros(8, 280, 280, 4, dtype=torch.uint8),
    }  # fmt: skip


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS}), ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(world)
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "PASSIVE")  # so that it is as before at the end
    given = names(world)
    for block in (block for block in BLOCKS if block.page == page):
        text = block.text
        for dear, cheap in CHEAPER.items():
            text = text.replace(dear, cheap)
        exec(compile("\n" * (block.line - 1) + text, str(page), "exec"), given)
    if page.name == "README.md":
        assert "torch.Size" in capsys.readouterr().out
        assert (world / "scene.safetensors").is_file()
        assert (world / "frames" / "frame_0000.ply").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_a_page_are_there(page: Path) -> None:
    """Names such as ``chronosplat.scenes.to_linear_motion``, as a program reaches them: functions outrank rooms of their name."""
    for name in set(re.findall(r"\b(?:chronosplat|cs)((?:\.[A-Za-z_]\w*)+)\b(?!/)", page.read_text())):
        if name == ".json" or re.search(rf"(?:from|import) \w+{re.escape(name)}\b", page.read_text()):
            continue  # a file, or a module that is imported
        found: Any = cs
        for part in name[1:].split("."):
            assert hasattr(found, part), f"{page.name}: cs{name}"
            found = getattr(found, part)


def test_blocks_are_found_and_changes_are_needed() -> None:
    assert len(BLOCKS) >= 10
    every = "".join(block.text for block in BLOCKS)
    assert [text for text in CHEAPER if text not in every] == []
