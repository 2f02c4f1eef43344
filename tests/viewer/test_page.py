"""The page as a file: its header, what is escaped, sizes, notebooks, and bad input."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chronosplat.cameras import Similarity, orbit
from chronosplat.scenes import Gaussians3D, GaussianSequence, StoredSequence, save_scene
from chronosplat.shapes import InputError
from chronosplat.viewer import show, write_page
from chronosplat.viewer.page import TEMPLATE
from tests.contracts.test_toy_scene import circling
from tests.viewer.kit import SCENES, WORLD, frame_shells, moving_shell, read_page, rig, shell, skinned_shell, static_shell

EVIL = '</script><script>document.title="taken"</script><!--<img src=x onerror=alert(1)>&amp;"\u2028'


@pytest.mark.parametrize("name", SCENES)
def test_the_header_describes_the_scene(name: str, tmp_path: Path) -> None:
    scene = SCENES[name](WORLD)
    header, blocks = read_page(write_page(scene, tmp_path / "a page.html", title="Fox"))
    assert header["form"] == name
    assert header["seconds"] == (None if scene.seconds is None else list(scene.seconds))
    assert [len(header["blocks"]), header["title"], header["background"]] == [len(blocks), "Fox", "#ffffff"]
    torch.testing.assert_close(torch.tensor(header["world"]).view(4, 4), WORLD.matrix().float())
    assert 0.4 < header["radius"] < 1.2


def test_the_page_needs_nothing_else() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    for what in (r"<link[^>]+href=(?!\"data:)", r"<script[^>]+src=", r"@import", r"url\("):
        assert not re.search(what, text), what
    for name in ("three 0.", "@sparkjsdev/spark 2.", "fflate 0."):  # the licences of what it contains
        assert name in text
    assert text.count("MIT License") + text.count("The MIT License") >= 3
    assert len(text) < 1.5e6


def test_markup_in_texts_stays_text(tmp_path: Path) -> None:
    path = write_page(static_shell(), tmp_path / "page.html", title=EVIL, notes={EVIL: EVIL})
    header, _ = read_page(path)
    assert [header["title"], header["notes"]] == [EVIL, {EVIL: EVIL}]
    text = path.read_text(encoding="utf-8")
    assert text.count("<!--") == TEMPLATE.read_text(encoding="utf-8").count("<!--") - 1  # the mark
    assert "onerror" not in text.replace(json.dumps(EVIL).replace("<", "\\u003c")[1:-1], "")
    assert "taken" not in re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)


def test_each_pose_appears_once_with_its_times_and_image(tmp_path: Path) -> None:
    cameras = orbit([0.0, 90.0, 0.0, 90.0, 180.0], 0.0, 64)
    images = (torch.arange(5).view(5, 1, 1, 1) / 5).expand(5, 64, 64, 4)
    header, _ = read_page(write_page(moving_shell(), tmp_path / "p.html", cameras, [2.3, 2.3, 3.0, 3.0, 3.5], images))
    assert [camera["times"] for camera in header["cameras"]] == [[2.3, 3.0], [2.3, 3.0], [3.5]]
    assert all(camera["image"].startswith("data:image/jpeg;base64,") for camera in header["cameras"])
    torch.testing.assert_close(torch.tensor(header["cameras"][2]["pose"]).view(4, 4), cameras.to_opengl_c2w()[4].float())
    assert header["size"] == [64, 64]


def test_other_kinds_are_shown_frame_by_frame(tmp_path: Path) -> None:
    scene = circling()
    scene = replace(scene, opacities=torch.tensor([0.9, 0.001]))  # the second one is never visible
    header, _ = read_page(write_page(scene, tmp_path / "p.html", frames=5))
    assert [header["form"], header["times"]] == ["frames", [0.0, 0.5, 1.0, 1.5, 2.0]]
    assert [count for count, _ in header["blocks"]] == [1] * 5


def test_a_stored_sequence_makes_the_same_page(tmp_path: Path) -> None:
    scene = frame_shells(WORLD)
    save_scene(scene, tmp_path / "scene.safetensors")
    stored = StoredSequence(tmp_path / "scene.safetensors")
    pages = [write_page(x, tmp_path / name, title="t").read_bytes() for x, name in ((scene, "a.html"), (stored, "b.html"))]
    assert pages[0] == pages[1]


def beyond_the_player(path: Path) -> int:
    """Bytes of the scene alone."""
    return path.stat().st_size - TEMPLATE.stat().st_size


def test_pages_are_small(tmp_path: Path) -> None:
    """393,216 4D splats in 12 MB, 24 x 16,384 in 8 MB, a body of 10,000 in 1 MB: with an eighth of them, which compress less."""
    room = lambda whole: (whole - TEMPLATE.stat().st_size) / 8
    count = 393_216 // 8
    random = torch.Generator().manual_seed(0)
    fields = shell(count)
    moving = moving_shell()
    moving = replace(
        moving,
        **fields,
        velocities=0.1 * torch.randn(count, 3, generator=random),
        time_centers=2 * torch.rand(count, generator=random) - 1,
        time_sigmas=0.2 + torch.rand(count, generator=random),
    )
    assert beyond_the_player(write_page(moving, tmp_path / "moving.html")) < room(12e6)
    sets = [shell(16_384, seed) for seed in range(3)]
    sequence = GaussianSequence(**{name: torch.stack([s[name] for s in sets]) for name in sets[0]}, times=torch.arange(3).double())
    assert beyond_the_player(write_page(sequence, tmp_path / "sequence.html")) < room(8e6)
    body = skinned_shell()
    copies = lambda x: x.repeat(4, *[1] * (x.ndim - 1))[:10_000]
    per_gaussian = ("means", "quats", "scales", "opacities", "colors", "skin_nodes", "skin_weights", "groups", "shares")
    body = replace(body, **{name: copies(getattr(body, name)) for name in per_gaussian})
    jitter = 0.01 * torch.randn(body.means.shape, generator=random)
    assert beyond_the_player(write_page(replace(body, means=body.means + jitter), tmp_path / "body.html")) < 1e6


def test_a_notebook_gets_the_whole_page() -> None:
    cell = show(static_shell(), title=EVIL, height=300)._repr_html_()
    assert cell.startswith("<iframe srcdoc=")
    assert "height:300px" in cell
    attribute = re.fullmatch(r'<iframe srcdoc="([^"]*)" style="[^"]*" allow="fullscreen" title="[^"]*"></iframe>', cell)
    assert attribute
    assert html.unescape(attribute[1]) == show(static_shell(), title=EVIL).html


BAD = {
    "no Gaussians": ({"scene": Gaussians3D(**{name: x[:0] for name, x in shell(1).items()})}, "scene: holds no Gaussians"),
    "times": ({"cameras": rig(Similarity(), 16), "times": [0.0]}, "times: expected shape [F=4]"),
    "images": ({"cameras": rig(Similarity(), 16), "images": torch.zeros(4, 3, 16, 16)}, "images: expected [F=4, H, W, 3 or 4]"),
    "background": ({"background": "plaid"}, "background: expected white"),
    "hexadecimal": ({"background": "#12345"}, "background: expected a name or #rrggbb"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_leaves_no_file(case: str, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    with pytest.raises(InputError, match=re.escape(message)):
        write_page(**({"scene": static_shell(), "path": tmp_path / "p.html"} | arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("given", "stands"), [("black", "#000000"), ("gray", "#808080"), ("#12ABef", "#12abef")])
def test_backgrounds(given: str, stands: str, tmp_path: Path) -> None:
    assert read_page(write_page(static_shell(), tmp_path / "p.html", background=given))[0]["background"] == stands


def test_progress_counts_frames(tmp_path: Path) -> None:
    from chronosplat.events import Events

    seen: list[tuple[str, int, int]] = []
    events = Events(progress=lambda stage, done, total, note="": seen.append((stage, done, total)))
    write_page(frame_shells(), tmp_path / "p.html", events=events)
    assert seen == [("page", k, 4) for k in (1, 2, 3, 4)]
