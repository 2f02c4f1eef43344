"""The committed player is what ``make web`` builds, and its splines are those of the scenes."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import zlib
from pathlib import Path

import pytest
import torch

from chronosplat.scenes.deformable import rotation_quats, spline_rows
from chronosplat.scenes.rotations import quats_to_matrices
from chronosplat.viewer.page import MARK, TEMPLATE
from tests.viewer.kit import NODE, WEB

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def opened(page: Path) -> tuple[str, bytes]:
    """The page without its program, and the program."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r'(?<=id="program">)[^<]*', text)
    assert found
    return text.replace(found[0], ""), zlib.decompress(base64.b64decode(found[0]))


@needs_node
@pytest.mark.skipif(not (WEB / "node_modules" / "esbuild").is_dir(), reason="esbuild is not installed; run npm ci in web/")
def test_the_committed_page_is_a_fresh_build(tmp_path: Path) -> None:
    fresh = tmp_path / "page.html"
    subprocess.run([str(NODE), "build.js", str(fresh)], cwd=WEB, check=True, capture_output=True)
    assert opened(fresh) == opened(TEMPLATE), "run make web, and commit src/chronosplat/viewer/page.html"


def test_the_page_carries_the_licences_of_its_parts() -> None:
    notice = (WEB / "LICENSES").read_text(encoding="utf-8")
    assert notice.replace("--", "- -") in TEMPLATE.read_text(encoding="utf-8")  # a comment, where two hyphens must not stand
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    for name in ("three", "@sparkjsdev/spark", "fflate"):
        assert f"{name} {locked[f'node_modules/{name}']['version']} (MIT)" in notice


def test_dependencies_are_pinned() -> None:
    package = json.loads((WEB / "package.json").read_text())
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in versions} == versions
    licences = {name: entry.get("license") for name, entry in locked.items() if name}
    assert set(licences.values()) <= {"MIT", "Apache-2.0", "ISC"}


def test_the_page_has_one_place_for_the_scene() -> None:
    assert opened(TEMPLATE)[0].count(MARK) == 1


def in_node(code: str) -> object:
    """What a program that imports the splines writes as JSON."""
    program = f'import {{ splineWeights, placeNodes }} from "{(WEB / "src" / "spline.js").as_uri()}"; {code}'
    done = subprocess.run([str(NODE), "--input-type=module", "-e", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_node
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_spline_weights_are_the_scenes(count: int) -> None:
    knots = torch.tensor([0.0, 0.1, 0.5, 0.6, 1.4, 2.0], dtype=torch.float64)[:count]
    seconds = torch.tensor([-1.0, 0.0, 0.05, 0.1, 0.3, 0.55, 0.6, 1.0, 1.9, 2.0, 3.0], dtype=torch.float64)
    code = f"""const knots = {knots.tolist()};
        console.log(JSON.stringify({seconds.tolist()}.map((t) => {{
            const row = knots.map(() => 0);
            for (const [knot, weight] of splineWeights(knots, t)) row[knot] += weight;
            return row;
        }})))"""
    torch.testing.assert_close(torch.tensor(in_node(code)).double(), spline_rows(knots, seconds), atol=1e-6, rtol=0)


@needs_node
def test_nodes_turn_as_the_scenes_do() -> None:
    random = torch.Generator().manual_seed(1)
    rest, shifts, turns = (torch.randn(5, 3, generator=random) for _ in range(3))
    turns[0], turns[1], turns[2] = 0.0, 1e-9, turns[2] * 4  # no turn, a tiny one, and more than one full turn
    motion = torch.cat([shifts, turns], -1)
    code = f"""const out = new Float32Array(40);
        placeNodes(new Float32Array({rest.flatten().tolist()}), new Float32Array({motion.flatten().tolist()}), 5, [[0, 1]], out);
        console.log(JSON.stringify([...out]))"""
    texels = torch.tensor(in_node(code)).view(5, 8)
    quats = rotation_quats(turns)
    torch.testing.assert_close(texels[:, :4], quats.roll(-1, -1), atol=1e-6, rtol=0)
    offsets = rest + shifts - (quats_to_matrices(quats) @ rest[..., None])[..., 0]
    torch.testing.assert_close(texels[:, 4:7], offsets, atol=1e-5, rtol=0)
