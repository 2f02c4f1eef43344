"""``.splatv``: linear motion in the layout of splaTV, the seconds beside it, and refusals."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.events import Events, Notice
from chronosplat.export import export, load_scene
from chronosplat.scenes import Clock, Gaussians4D
from chronosplat.shapes import InputError
from tests.export.kit import own, written
from tests.scene_kit import law, moving_scene, seeds, sequence_scene, static_scene, tilted_world

ROW = 64


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The chunk's header and its texture."""
    magic, length = struct.unpack_from("<2I", data)
    assert magic == 0x674B
    (chunk,) = json.loads(data[8 : 8 + length])
    return chunk, data[8 + length :]


def put(path: Path, chunks: Any, texture: bytes) -> Path:
    """A file made of its parts."""
    text = json.dumps(chunks).encode()
    path.write_bytes(struct.pack("<2I", 0x674B, len(text)) + text + texture)
    return path


@law
@given(seeds(), st.sampled_from([0.0, 0.3, 1.0]), st.floats(-50, 50), st.floats(0.05, 20))
def test_linear_motion_comes_back(tmp_path_factory: pytest.TempPathFactory, seed: int, part: float, first: float, span: float) -> None:
    clock = Clock(first + span / 2, span / 2)  # scene times -1 to 1
    scene = moving_scene(12, seed, tilted_world(), clock, (first, first + span))
    scene = replace(scene, time_sigmas=scene.time_sigmas.clamp_min(0.3))
    path = export(scene, tmp_path_factory.mktemp("splatv") / "a.splatv", up="capture")
    found = load_scene(path)
    assert isinstance(found, Gaussians4D)
    assert found.seconds == pytest.approx(scene.seconds, abs=1e-9)
    seconds = first + part * span
    before, after = scene.at(seconds), found.at(seconds)
    torch.testing.assert_close(after.means, before.means, rtol=0, atol=2e-3 * scene.world.scale)
    torch.testing.assert_close(after.opacities, before.opacities, rtol=0, atol=0.5 / 255 + 0.006)


def test_the_words_of_a_splat_are_where_splatv_viewers_look(tmp_path: Path) -> None:
    scene = replace(
        moving_scene(1, seconds=(2.0, 4.0)),
        means=torch.tensor([[1.0, 2, 3]]), velocities=torch.tensor([[0.5, -1, 2]]), quats=torch.tensor([[0.5, 0.5, -0.5, 0.5]]),
        scales=torch.tensor([[0.25, 0.5, 1]]), opacities=torch.tensor([0.6]), colors=torch.tensor([[0.0, 0.2, 1.0]]),
        time_centers=torch.tensor([0.0]), time_sigmas=torch.tensor([2.0]),
    )  # fmt: skip  # the clock: 3 s + 0.5 t
    chunk, texture = parts(written(scene, tmp_path / "a.splatv", up="capture"))
    assert {name: chunk[name] for name in ("type", "size", "texwidth", "texheight")} == {
        "type": "splat", "size": len(texture), "texwidth": 4096, "texheight": len(texture) // 65536,
    }  # fmt: skip
    assert {"fx", "fy", "position", "rotation", "width", "height"} <= set(chunk["cameras"][0])
    words, halves = np.frombuffer(texture[:ROW], "<u4"), np.frombuffer(texture[:ROW], "<f2")
    assert words[:3].view("<f4").tolist() == [1, 2, 3]
    assert halves[6:10].tolist() == [0.5, 0.5, -0.5, 0.5]
    assert halves[10:13].tolist() == [0.25, 0.5, 1]
    assert list(texture[28:32]) == [0, 51, 255, 153]
    assert halves[16:19].tolist() == [2, -4, 8]  # 0.5 per unit of scene time, 0.5 s long, over 2 s
    assert not words[10:15].any()
    assert halves[30] == 0.5
    assert halves[31] == np.float16(math.sqrt(2) * 1.0 / 2)
    assert not any(texture[ROW:])


def test_static_gaussians_stay_static_and_sequences_are_refused(tmp_path: Path) -> None:
    assert load_scene(export(static_scene(), tmp_path / "a.splatv")).num_frames == 1
    with pytest.raises(InputError, match=r"\.splatv holds Gaussians that move on straight lines, .*b_####\.splatv$"):
        export(sequence_scene(), tmp_path / "b.splatv")


def test_other_motion_is_left_out_with_a_warning_and_missing_seconds_are_0_to_1(tmp_path: Path) -> None:
    chunk, texture = parts(written(moving_scene(3), tmp_path / "a.splatv"))
    del chunk["seconds"]
    bent = bytearray(texture)
    bent[38:40] = np.float16(1).tobytes()
    notices: list[Notice] = []
    found = load_scene(put(tmp_path / "b.splatv", [chunk], bytes(bent)), Events(notice=notices.append))
    assert [(n.level, n.code) for n in notices] == [("warning", "spacetime-motion")]
    assert found.seconds == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 10**12}, "cut short"), ({"size": 100}, "no multiple of 64"), ({"size": -64}, "damaged header"),
        ({"size": "64"}, "damaged header"), ({"size": True}, "damaged header"), ({"type": "mesh"}, "damaged header"),
        ({"size": 2.5e3}, "damaged header"),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    chunk, texture = parts(written(static_scene(3), tmp_path / "a.splatv"))
    with pytest.raises(InputError, match=rf"b\.splatv: .*{message}"):
        load_scene(put(tmp_path / "b.splatv", [chunk | change], texture))


@pytest.mark.parametrize("chunks", [{}, [], None, 3, "x", [[]], [{}], [{"type": "splat"}]])
def test_headers_without_a_splat_chunk_are_refused(tmp_path: Path, chunks: Any) -> None:
    with pytest.raises(InputError, match=r"a\.splatv: damaged header"):
        load_scene(put(tmp_path / "a.splatv", chunks, bytes(64)))


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    text = b"[" * 200_000
    (tmp_path / "a.splatv").write_bytes(struct.pack("<2I", 0x674B, len(text)) + text)
    with pytest.raises(InputError, match="damaged header"):
        load_scene(tmp_path / "a.splatv")


@pytest.mark.parametrize("seconds", [None, [1, 1], [2, 1], ["a", "b"], [0], [0, 1e300], {}, [float("nan"), 1]])
def test_seconds_that_are_none_become_0_to_1(tmp_path: Path, seconds: Any) -> None:
    chunk, texture = parts(written(moving_scene(3), tmp_path / "a.splatv"))
    found = load_scene(put(tmp_path / "b.splatv", [chunk | {"seconds": seconds}], texture))
    assert found.seconds == (0.0, 1.0)
    assert own(found).num_gaussians == 3
