"""Packing, inspection and verification of data sets, and the layout of L4GM's loader."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chronosplat.cameras import orbit
from chronosplat.captures import load_capture
from chronosplat.cli import main
from chronosplat.data.clip import Clip
from chronosplat.data.clipset import ClipSet
from chronosplat.data.convert import clip_of_capture, save_clip
from chronosplat.data.l4gm_tars import l4gm_uids, read_l4gm, write_l4gm
from chronosplat.data.lease import Lease
from chronosplat.data.pack import PackOptions, find_clips, pack
from chronosplat.data.shards import read_records, shard_name, write_shard
from chronosplat.data.store import Store
from chronosplat.data.verify import verify
from chronosplat.events import Events, Notice
from chronosplat.shapes import InputError
from tests.data.shard_kit import data_set, small_clip


def l4gm_clip(key: str = "cat-run-003", size: int = 16) -> Clip:
    """A clip on L4GM's rig."""
    rng = np.random.default_rng(5)
    clip = small_clip(key, 1, times=24, views=48, size=size)
    azimuths, elevations = [22.5 * i for i in range(16)] + list(rng.uniform(0, 360, 32)), [0.0] * 16 + list(rng.uniform(-5, 30, 32))
    cameras = orbit(azimuths, elevations, size)
    groups = {"fixed": list(range(16)), "random": list(range(16, 48))}
    facts = {**clip.facts, "window": 3}
    return dataclasses.replace(clip, viewmats=cameras.viewmats.numpy(), Ks=cameras.Ks.numpy(), groups=groups, facts=facts)


def on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(float) / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def test_l4gm_tars_hold_what_the_loader_reads(tmp_path: Path) -> None:
    """Reads them as that loader does: by name, the pose as an orbit of azimuth and elevation."""
    clip = l4gm_clip()
    uid = write_l4gm(clip, tmp_path)
    assert uid == "clip-cat_run-003"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{n}-{uid}" for n in ("fixed_16_clip", "random_clip", "fixed_16_24fps", "random_24fps")
    )
    for form, times in (("clip", list(range(0, 24, 3))), ("24fps", list(range(24)))):
        for name, group in (("fixed_16", "fixed"), ("random", "random")):
            with tarfile.open(tmp_path / f"{name}_{form}-{uid}") as tar:

                def content(path: str, tar: tarfile.TarFile = tar) -> io.BytesIO:
                    file = tar.extractfile(path)
                    assert file is not None
                    return io.BytesIO(file.read())

                for prefix in ("", "./"):
                    for place in (0, 5, 15):
                        view, t = clip.groups[group][place], 2
                        image = np.asarray(Image.open(content(f"{prefix}{place:03d}/img/{t:03d}.jpg")), float)
                        mask = np.asarray(Image.open(content(f"{prefix}{place:03d}/mask/{t:03d}.png")))
                        frame = clip.frames[times[t], view]
                        assert np.array_equal(mask, frame[..., 3])
                        assert np.abs(image - on_white(frame)).mean() < 3
                        angles = [np.load(content(f"{prefix}{place:03d}/camera/{what}.npy")) for what in ("rotation", "elevation")]
                        assert [a.shape for a in angles] == [(len(times),)] * 2
                        a, e = np.radians(angles[0][t]), np.radians(angles[1][t])
                        position = 1.5 * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
                        ours = clip.cameras([t], [view]).centers[0].numpy() * [-1, 1, -1]  # their world is turned by half a turn
                        assert np.allclose(position, ours, atol=1e-4)
                with pytest.raises(KeyError):
                    content(f"000/img/{len(times):03d}.jpg")


@pytest.mark.parametrize("form", ["8fps", "24fps"])
def test_l4gm_tars_come_back(tmp_path: Path, form: str) -> None:
    clip = l4gm_clip()
    uid = write_l4gm(clip, tmp_path)
    back = read_l4gm(tmp_path, uid, form)
    step = 3 if form == "8fps" else 1
    assert np.array_equal(back.frames[..., 3], clip.frames[::step, ..., 3])
    assert np.abs(on_white(back.frames) - on_white(clip.frames[::step])).mean() < 2
    assert np.abs(back.viewmats - clip.viewmats[::step]).max() < 1e-5
    assert np.abs(back.Ks - clip.Ks[::step]).max() < 1e-4
    assert back.groups == clip.groups
    assert l4gm_uids(tmp_path) == {uid: "24fps"}


def test_clips_off_l4gms_rig_are_refused(tmp_path: Path) -> None:
    clip = l4gm_clip()
    far = orbit([22.5 * i for i in range(48)], 0.0, 16, radius=2.0)
    for change, message in (
        ({"viewmats": far.viewmats.numpy()}, "cameras are not L4GM's"),
        ({"Ks": clip.Ks * [[2, 1, 1], [1, 2, 1], [1, 1, 1]]}, "cameras are not L4GM's"),
        ({"groups": {"fixed": [0], "random": [1]}}, "1 fixed and 1 random views; L4GM's loader takes 24, 16 and 32"),
    ):
        with pytest.raises(InputError, match=message):
            write_l4gm(dataclasses.replace(clip, **change), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip's tars."""
    folder = tmp_path_factory.mktemp("tars")
    write_l4gm(l4gm_clip(), folder)
    return folder


@pytest.mark.parametrize("damage", ["cut", "noise", "missing", "bomb", "pickle"])
def test_damaged_l4gm_tars_are_named(tars: Path, tmp_path: Path, damage: str) -> None:
    uid = "clip-cat_run-003"
    for name in ("fixed_16_clip", "random_clip"):
        (tmp_path / f"{name}-{uid}").write_bytes((tars / f"{name}-{uid}").read_bytes())
    path = tmp_path / f"random_clip-{uid}"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "noise":
        path.write_bytes(b"noise" * 300)
    else:
        rows = io.BytesIO()
        np.save(rows, np.array([{}], object), allow_pickle=True)
        bomb = io.BytesIO()
        Image.new("L", (20000, 20000)).save(bomb, "PNG")
        other = {
            "missing": (None, b""),
            "bomb": ("000/mask/000.png", bomb.getvalue()),
            "pickle": ("000/camera/rotation.npy", rows.getvalue()),
        }
        name, data = other[damage]
        with tarfile.open(path) as tar:
            kept = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isreg()}  # pyright: ignore[reportOptionalMemberAccess]
        kept = {n: data if n == name else d for n, d in kept.items() if damage != "missing" or n != "007/img/003.jpg"}
        with tarfile.open(path, "w") as tar:
            for n, d in kept.items():
                info = tarfile.TarInfo(n)
                info.size = len(d)
                tar.addfile(info, io.BytesIO(d))
    with pytest.raises(InputError, match=f"random_clip-{uid}"):
        read_l4gm(tmp_path, uid)


def test_a_clip_and_its_capture_are_the_same(tmp_path: Path) -> None:
    clip = small_clip("walk", times=4, views=6)
    save_clip(clip, tmp_path / "walk")
    train, test = load_capture(tmp_path / "walk"), load_capture(tmp_path / "walk", "test")
    assert (len(train), len(test)) == (12, 12)
    assert np.array_equal(train.pixels.numpy().reshape(4, 3, 16, 16, 4), clip.frames[:, :3])
    back = clip_of_capture(tmp_path / "walk")
    assert np.array_equal(back.frames, clip.frames)
    assert back.groups == clip.groups
    assert (back.facts["uid"], back.facts["licence"], back.facts["layout"]) == ("uid-walk", "CC0-1.0", "capture")
    (tmp_path / "walk" / "report.json").write_text("[]")
    assert clip_of_capture(tmp_path / "walk").facts == {"uid": "walk", "layout": "capture"}
    assert np.allclose(back.seconds, clip.seconds, atol=1e-6)
    before, after = (np.linalg.inv(c.viewmats[0, 0].astype(float)) for c in (clip, back))
    for v in range(6):  # the same cameras, seen from the first one, and at the normalised distance
        one, other = (c.viewmats[0, v] @ inverse for c, inverse in ((clip, before), (back, after)))
        assert np.abs(one - other).max() < 1e-3
    assert np.linalg.norm(np.linalg.inv(back.viewmats[0, 0])[:3, 3]) == pytest.approx(1.5, abs=1e-3)


def test_captures_without_a_grid_are_refused(tmp_path: Path) -> None:
    save_clip(small_clip(times=2, views=2), tmp_path / "c")
    file = tmp_path / "c/transforms_train.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps(meta | {"frames": [*meta["frames"], meta["frames"][-1]]}))
    with pytest.raises(InputError, match="1 to 2 views at each time; a clip has every camera at every time"):
        clip_of_capture(tmp_path / "c")


@pytest.mark.parametrize("form", ["captures", "shards"])
def test_packing_there_and_back_changes_nothing(tmp_path: Path, form: str) -> None:
    source = data_set(tmp_path / "one", clips=5)
    assert pack([source], str(tmp_path / "two"), PackOptions(form=form, clips=2)) == 5  # pyright: ignore[reportArgumentType]
    assert pack([str(tmp_path / "two")], str(tmp_path / "three")) == 5
    first, last = ClipSet(source), ClipSet(str(tmp_path / "three"))
    assert [p.entry.key for p in first.places] == [p.entry.key for p in last.places]
    for i in range(5):
        assert np.array_equal(first.clip(i).clip().frames, last.clip(i).clip().frames)
    assert (first.digest() == last.digest()) == (form == "shards")


def test_packing_continues_and_refuses_another_source(tmp_path: Path) -> None:
    source, output = data_set(tmp_path / "one", clips=5), tmp_path / "two"
    pack([source], str(output), PackOptions(clips=2))
    before = {p.name: p.stat().st_mtime_ns for p in output.iterdir()}
    (output / "shard-000001.json").unlink()
    pack([source], str(output), PackOptions(clips=2))
    after = {p.name: p.stat().st_mtime_ns for p in output.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"shard-000001.json", "shard-000001.tar"}
    with pytest.raises(InputError, match="holds other clips"):
        pack([data_set(tmp_path / "other", clips=1)], str(output))


def test_captures_with_one_key_are_refused(tmp_path: Path) -> None:
    for parent in ("one", "two"):
        save_clip(small_clip("fox", times=2, views=2), tmp_path / parent / "fox")
    sources = [str(tmp_path / "one"), str(tmp_path / "two" / "fox")]
    for form in ("shards", "captures"):
        with pytest.raises(InputError, match=r"two/fox: has the key fox, like .*one/fox; rename one of them, or pack them apart"):
            pack(sources, str(tmp_path / "out"), PackOptions(form=form, clips=1))  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "out").exists()


def test_what_was_assumed_and_left_out_is_said(tmp_path: Path) -> None:
    notices: list[Notice] = []
    (tmp_path / "cat" / "eval_0").mkdir(parents=True)
    for name in ("0.png", "1.png", "eval_0/0.png"):
        Image.new("RGBA", (16, 16), (9, 9, 9, 255)).save(tmp_path / "cat" / name)
    Image.new("RGBA", (16, 16), (9, 9, 9, 255)).save(tmp_path / "cat" / "eval_0" / "1.png")
    pack([str(tmp_path / "cat")], str(tmp_path / "out"), events=Events(notice=notices.append))
    assert [n.code for n in notices] == ["assumed-cameras"]
    (tmp_path / "cat" / "2.png").write_bytes((tmp_path / "cat" / "1.png").read_bytes())
    pack([str(tmp_path / "cat")], str(tmp_path / "other"), events=Events(notice=notices.append))
    assert [n.code for n in notices[1:]] == ["split-left-out", "assumed-cameras"]
    assert ClipSet(str(tmp_path / "other")).clip(0).views == 1


def test_one_run_at_a_time_packs_and_not_into_what_is_rendered(tmp_path: Path) -> None:
    source, output = data_set(tmp_path / "one", clips=2), tmp_path / "out"
    lease = Lease(Store.at(output))
    with pytest.raises(InputError, match="another run writes there"):
        pack([source], str(output))
    lease.release("interrupted")
    pack([source], str(output))
    assert sorted(p.name for p in output.iterdir()) == ["shard-000000.json", "shard-000000.tar"]
    (output / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="holds what data render makes; choose another output"):
        pack([source], str(output))


def test_l4gm_data_packs_to_shards(tmp_path: Path) -> None:
    write_shard(f"{tmp_path}/one/{shard_name(0)}", [l4gm_clip()])
    pack([f"{tmp_path}/one"], f"{tmp_path}/tars", PackOptions(form="l4gm"))
    assert (tmp_path / "tars/datalist_8fps.txt").read_text() == "clip-cat_run-003\n"
    pack([f"{tmp_path}/tars"], f"{tmp_path}/two")
    assert ClipSet(f"{tmp_path}/two").clip(0).times == 24


def test_unknown_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sources: none given"):
        pack([], str(tmp_path / "x"))
    with pytest.raises(InputError, match="expected a data set of shards, a folder of L4GM's tars, a capture, or a folder of captures"):
        find_clips(str(tmp_path))
    with pytest.raises(InputError, match="the form l4gm is written to a folder"):
        pack([data_set(tmp_path / "one", clips=1)], "memory://x", PackOptions(form="l4gm"))


def test_a_whole_data_set_has_no_losses(tmp_path: Path) -> None:
    found = verify(data_set(tmp_path, clips=5))
    assert (found.shards, found.clips, found.lost, found.unfinished) == (3, 5, (), ())
    assert found.bytes == sum(p.stat().st_size for p in tmp_path.glob("*.tar"))


def test_every_flipped_byte_is_found_and_its_clip_named(tmp_path: Path) -> None:
    address, rng = data_set(tmp_path, clips=4), np.random.default_rng(0)
    record = read_records(Store.at(address))[1]
    file = tmp_path / record.file
    whole = file.read_bytes()
    for position in rng.integers(record.entries[-1].offset + record.entries[-1].size, size=20).tolist():
        data = bytearray(whole)
        data[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(data)
        owner = next(e.key for e in record.entries if e.offset <= position < e.offset + e.size)
        assert [(loss.shard, loss.key) for loss in verify(address).lost] == [(record.file, owner)]


def test_cut_missing_and_unrecorded_shards_are_told_apart(tmp_path: Path) -> None:
    address = data_set(tmp_path, clips=8)
    record = read_records(Store.at(address))[0]
    file = tmp_path / shard_name(0)
    file.write_bytes(file.read_bytes()[: record.entries[1].offset + 700])
    (tmp_path / shard_name(1)).unlink()
    (tmp_path / "shard-000002.json").unlink()
    (tmp_path / "shard-000003.json").write_text("{")
    found = verify(address)
    assert [(loss.shard, loss.key) for loss in found.lost] == [
        (shard_name(0), "clip001"),
        (shard_name(1), "clip002"),
        (shard_name(1), "clip003"),
        (shard_name(3), ""),
    ]
    assert "cut off: 700 of" in found.lost[0].problem
    assert "record is damaged" in found.lost[3].problem
    assert found.unfinished == (shard_name(2),)


def test_the_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = data_set(tmp_path / "one", clips=5)
    assert main(["data", "pack", source, "-o", str(tmp_path / "two"), "--clips", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 5
    assert main(["data", "verify", str(tmp_path / "two"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lost"] == []
    assert main(["data", "inspect", str(tmp_path / "two"), "-o", str(tmp_path / "sheet.png"), "--count", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["clips"], found["shards"], found["images"], found["sampled"]) == (5, 3, 120, 4)
    assert found["licences"] == {"CC0-1.0": 5}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 3 * 4 * 96
        assert len(sheet.getcolors(100000) or []) > 10
    file = tmp_path / "two/shard-000000.tar"
    file.write_bytes(file.read_bytes()[:2000])
    assert main(["data", "verify", str(tmp_path / "two")]) == 2
    assert "2 of 5 clips are lost" in capsys.readouterr().err
    assert main(["data", "inspect", str(tmp_path)]) == 2
    assert "no shards in it" in capsys.readouterr().err
    assert main(["data", "inspect", source, "-o", "x.jpg"]) == 2
    assert "expected a .png" in capsys.readouterr().err


def test_views_of_a_capture_keep_their_cameras(tmp_path: Path) -> None:
    clip = small_clip(moving=True)
    save_clip(clip, tmp_path / "c")
    views = load_capture(tmp_path / "c")
    a, b = views.cameras.viewmats.double(), torch.from_numpy(clip.viewmats[:, :3].reshape(-1, 4, 4)).double()
    turn = torch.linalg.inv(a[0]) @ b[0]
    assert torch.allclose(a @ turn, b, atol=1e-4)
