"""``.sog``: the archive others expect, codebooks, bombs, and damage inside the archive."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chronosplat.events import Events, Notice
from chronosplat.export import load_scene
from chronosplat.export.formats.sog import quantise
from chronosplat.shapes import InputError
from tests.export.kit import assert_read_or_refused, mutations, written
from tests.scene_kit import law, static_scene

fuzz = settings(law, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def members(data: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def put(path: Path, files: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    """An archive."""
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def changed(files: dict[str, bytes], **meta: Any) -> dict[str, bytes]:
    """The files with other metadata."""
    return files | {"meta.json": json.dumps(json.loads(files["meta.json"]) | meta).encode()}


def image(width: int, height: int) -> bytes:
    """A black image."""
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height)).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def test_the_archive_is_what_readers_of_version_2_expect(tmp_path: Path) -> None:
    files = members(written(static_scene(10), tmp_path / "a.sog"))
    assert list(files) == ["meta.json", "means_l.webp", "means_u.webp", "quats.webp", "scales.webp", "sh0.webp"]
    meta = json.loads(files["meta.json"])
    assert (meta["version"], meta["count"]) == (2, 10)
    assert [len(meta[name]["codebook"]) for name in ("scales", "sh0")] == [256, 256]
    assert all(a <= b for a, b in zip(meta["scales"]["codebook"], meta["scales"]["codebook"][1:], strict=False))
    for name in list(files)[1:]:
        picture = Image.open(io.BytesIO(files[name]))
        assert picture.format == "WEBP"
        assert picture.width % 4 == picture.height % 4 == 0
    tags = np.asarray(Image.open(io.BytesIO(files["quats.webp"])).convert("RGBA")).reshape(-1, 4)[:10, 3]
    assert tags.min() >= 252


@law
@given(st.integers(0, 999), st.integers(1, 3000), st.sampled_from(["normal", "constant", "rare", "few"]))
def test_a_codebook_is_ascending_keeps_the_ends_and_beats_even_steps(seed: int, count: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 3))
    values = {"normal": values, "constant": values * 0 - 9.21, "rare": np.where(values > 2, values * 30, values), "few": np.rint(values)}[
        kind
    ]
    values = values.astype(np.float32)
    codes, book = quantise(values)
    back = np.asarray(book)[codes]
    assert len(book) == 256
    assert (np.diff(book) >= 0).all()
    assert back.min() == values.min()
    assert back.max() == pytest.approx(values.max(), abs=1e-6)
    step = (values.max() - values.min()) / 255
    assert np.abs(back - values).mean() <= step / 4 + 1e-6


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"version": 1}, "expected version 2"),
        ({"count": -1}, "its count of Gaussians is -1"),
        ({"count": 10**12}, "its count of Gaussians is 1000000000000"),
        ({"count": "9"}, "its count of Gaussians is 9"),
        ({"count": True}, "its count of Gaussians is True"),
        ({"count": 10**6}, "an image of 4x4 pixels for 1000000 Gaussians"),
        ({"means": {}}, "not a readable .sog file"),
        ({"sh0": {"codebook": [0.0], "files": ["sh0.webp"]}}, "not a readable .sog file"),
        ({"quats": {"files": ["../../etc/passwd"]}}, "not a readable .sog file"),
        ({"quats": {"files": ["/etc/passwd"]}}, "not a readable .sog file"),
        ({"scales": {"codebook": [float("nan")] * 256, "files": ["scales.webp"]}}, "of the scales are NaN or infinite"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, meta: dict[str, Any], message: str) -> None:
    files = members(written(static_scene(10), tmp_path / "a.sog"))
    with pytest.raises(InputError, match=rf"b\.sog: .*{message}"):
        load_scene(put(tmp_path / "b.sog", changed(files, **meta)))


def test_harmonics_are_left_out_with_a_notice(tmp_path: Path) -> None:
    files = members(written(static_scene(10), tmp_path / "a.sog"))
    notices: list[Notice] = []
    load_scene(put(tmp_path / "b.sog", changed(files, shN={"bands": 1})), Events(notice=notices.append))
    assert [n.code for n in notices] == ["harmonics"]


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    files = members(written(static_scene(10), tmp_path / "a.sog"))
    wide = image(16000, 4)
    huge = image(8000, 1000)
    for bomb, message in (
        ({"meta.json": bytes(20_000_000)}, "meta.json is larger"),
        ({"quats.webp": huge}, "an image of 8000x1000 pixels"),
    ):
        with pytest.raises(InputError, match=message):
            load_scene(put(tmp_path / "b.sog", files | bomb, zipfile.ZIP_DEFLATED))
    assert load_scene(put(tmp_path / "b.sog", files | {"quats.webp": wide}, zipfile.ZIP_DEFLATED)).num_gaussians == 10


@fuzz
@given(st.data())
def test_damage_inside_the_archive_is_refused_or_read(tmp_path: Path, data: st.DataObject) -> None:
    files = members(written(static_scene(30), tmp_path / "a.sog"))
    name = data.draw(st.sampled_from(sorted(files)))
    path = put(tmp_path / "b.sog", files | {name: data.draw(mutations(files[name]))})
    assert_read_or_refused(path)


def test_invalid_rotations_become_finite(tmp_path: Path) -> None:
    files = members(written(static_scene(10), tmp_path / "a.sog"))
    found = load_scene(put(tmp_path / "b.sog", files | {"quats.webp": image(4, 4)})).at(0.0)
    torch.testing.assert_close(found.quats.norm(dim=1), torch.ones(10))
