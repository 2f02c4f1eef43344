"""A headless Chromium that the tests of the page share, and small scenes of every form."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity, orbit
from chronosplat.scenes import Clock, DeformableGaussians, Gaussians3D, Gaussians4D, GaussianSequence, normalize
from tests.scene_kit import tilted_world

WEB = Path(__file__).parents[2] / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")


def missing() -> str | None:
    """What the tests of the page in a browser lack on this machine; None: nothing."""
    if NODE is None:
        return "node is not installed"
    if CHROMIUM is None:
        return "chromium is not installed"
    if not (WEB / "node_modules" / "playwright-core").is_dir():
        return "playwright-core is not installed; run npm ci in web/"
    return None


class Browser:
    """A page in headless Chromium."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, action: str, **options: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"action": action} | options) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def open(self, path: Path, width: int = 256, height: int = 256, **options: Any) -> None:
        """Open a file and wait until the first picture is complete."""
        self("open", url=path.resolve().as_uri(), width=width, height=height, **options)
        self("ready")

    def js(self, code: str) -> Any:
        """Evaluate an expression; promises are awaited."""
        return self("evaluate", code=code)

    def settle(self) -> None:
        """Wait until the picture shows the latest splats in their right order."""
        self.js("viewer.settled()")

    def picture(self) -> Tensor:
        """The canvas [H, W, 3] without cameras and boxes."""
        self.settle()
        url = self.js("viewer.stage.render(), document.getElementById('canvas').toDataURL()")
        image = Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
        return torch.from_numpy(np.array(image)).float() / 255

    def assert_quiet(self, path: Path) -> None:
        """No error or warning on the console, and nothing requested but the file itself and what the page holds."""
        assert self("troubles") == []
        assert {url.partition(":")[0] for url in self("requests")} <= {"file", "data", "blob"}
        assert [url for url in self("requests") if url.startswith("file")] == [path.resolve().as_uri()]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser, and stop it at the end."""
    assert NODE is not None
    command = [NODE, str(Path(__file__).with_name("browser.js")), str(CHROMIUM), str(WEB)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        browser = Browser(process)
        try:
            yield browser
        finally:
            assert process.stdin is not None
            process.stdin.write('{"action": "close"}\n')
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def shell(count: int = 2500, seed: int = 0) -> dict[str, Tensor]:
    """Flat Gaussians on a bumpy sphere: surface-like, all orientations, colours that vary over it."""
    random = torch.Generator().manual_seed(seed)
    way = normalize(torch.randn(count, 4, generator=random))[:, :3]
    way = way / way.norm(dim=-1, keepdim=True)
    radius = 0.45 + 0.08 * torch.sin(7 * way[:, :1]) * torch.cos(5 * way[:, 1:2])
    turn = torch.cat([1 + way[:, 2:], torch.stack([-way[:, 1], way[:, 0], torch.zeros(count)], -1)], -1)  # from +Z to the normal
    return {
        "means": way * radius,
        "quats": normalize(turn),
        "scales": torch.tensor([0.02, 0.014, 0.004]) * (0.5 + torch.rand(count, 1, generator=random)),
        "opacities": 0.3 + 0.69 * torch.rand(count, generator=random),
        "colors": (0.5 + 0.5 * torch.sin(6 * way + torch.tensor([0.0, 2.0, 4.0]))).clamp(0, 1),
    }


def static_shell(world: Similarity | None = None) -> Gaussians3D:
    """A static scene."""
    return Gaussians3D(**shell(), world=world or Similarity())


def moving_shell(world: Similarity | None = None) -> Gaussians4D:
    """Linear motion: parts appear, move and vanish."""
    fields = shell()
    random = torch.Generator().manual_seed(5)
    count = len(fields["means"])
    return Gaussians4D(
        **fields,
        velocities=0.25 * torch.stack([fields["means"][:, 1], -fields["means"][:, 0], fields["means"][:, 2]], -1) + 0.02,
        time_centers=2 * torch.rand(count, generator=random) - 1,
        time_sigmas=0.4 + torch.rand(count, generator=random),
        clock=Clock(3.0, 0.75),
        seconds=(2.25, 3.75),
        world=world or Similarity(),
    )


def frame_shells(world: Similarity | None = None, frames: int = 4) -> GaussianSequence:
    """Other Gaussians at each of some uneven times."""
    sets = [shell(seed=i) for i in range(frames)]
    stacked = {
        name: torch.stack([s[name] * (0.8 + 0.1 * i) if name == "means" else s[name] for i, s in enumerate(sets)]) for name in sets[0]
    }
    return GaussianSequence(
        **stacked, times=torch.tensor([0.5 + 0.1 * i * (i + 1) for i in range(frames)]).double(), world=world or Similarity()
    )


def skinned_shell(world: Similarity | None = None, residuals: bool = True) -> DeformableGaussians:
    """A body of eight nodes and five knots that bends and twists, with residual groups."""
    fields = shell()
    random = torch.Generator().manual_seed(9)
    count, nodes, knots, groups = len(fields["means"]), 8, 5, 6
    places = torch.randn(nodes, 3, generator=random) * 0.3
    weights = torch.softmax(-torch.cdist(fields["means"], places) / 0.1, -1).topk(4)
    extra: dict[str, Tensor] = {}
    if residuals:
        extra = {
            "groups": torch.randint(groups, (count,), generator=random),
            "offsets": torch.randn(knots, groups, 3, generator=random) * 0.03,
            "tints": torch.randn(knots, groups, 3, generator=random) * 0.2,
            "fades": torch.rand(knots, groups, generator=random) * 1.2,
            "shares": torch.rand(count, generator=random),
        }
    return DeformableGaussians(
        **fields,
        nodes=places,
        skin_nodes=weights.indices,
        skin_weights=weights.values / weights.values.sum(-1, keepdim=True),
        knots=torch.tensor([1.0, 1.2, 1.5, 1.6, 2.0]).double(),
        shifts=torch.randn(knots, nodes, 3, generator=random) * 0.08,
        turns=torch.randn(knots, nodes, 3, generator=random) * 0.5,
        world=world or Similarity(),
        **extra,
    )


SCENES = {"static": static_shell, "linear": moving_shell, "frames": frame_shells, "skinned": skinned_shell}


def rig(world: Similarity, size: int = 256) -> Cameras:
    """Four cameras in the capture's world, with principal points off the centre and uneven focal lengths."""
    cameras = orbit([0.0, 70.0, 190.0, 300.0], [0.0, 25.0, -15.0, 40.0], size)
    Ks = cameras.Ks.clone()
    Ks[:, 0, 0] *= 1.2
    Ks[:, 0, 2] += 11.3
    Ks[:, 1, 2] -= 7.7
    return Cameras(cameras.viewmats, Ks, size, size).transformed(world)


WORLD = tilted_world()


def read_page(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The header of a page, and the compressed bytes of its blocks."""
    text = path.read_text(encoding="utf-8")
    header = text.partition('<script type="application/json" id="scene">')[2].partition("</script>")[0]
    blocks = [part.partition("</script>")[0] for part in text.split('class="block">')[1:]]
    return json.loads(header), [base64.b64decode(block) for block in blocks]


def unpacked(count: int, channels: list[list[float]], data: bytes) -> list[np.ndarray]:
    """The integers of each channel, as docs/viewer.md says that they are stored."""
    planes = np.frombuffer(zlib.decompress(data), np.uint8).astype(np.int64)
    found: list[np.ndarray] = []
    at = 0
    for bits, _, _, differences, *_ in channels:
        width = -(-int(bits) // 8)
        values = sum(planes[at + k * count : at + (k + 1) * count] << (8 * k) for k in range(width))
        at += width * count
        values = np.asarray(values)
        if differences:
            values = (values >> 1) ^ -(values & 1)
            values = np.cumsum(values) if int(differences) & 1 else values
            values = values + found[-1] if int(differences) & 2 else values
        found.append(values & ((1 << int(bits)) - 1))
    assert at == len(planes)
    return found
