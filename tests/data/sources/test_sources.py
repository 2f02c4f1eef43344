"""Sources: each on a miniature of its layout, without a network."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from chronosplat.data.licences import DEFAULT_LICENCES
from chronosplat.data.objects import open_asset
from chronosplat.data.sources import Asset, Query, fetch, find_assets
from chronosplat.data.sources.files import UnreachedError
from chronosplat.events import Events, Notice
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import two_joint_strip

ANY = Query("", licences=DEFAULT_LICENCES)


def model(path: Path, extras: dict[str, str] | None = None) -> Path:
    """A small animated model."""
    maker = two_joint_strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    if extras:
        maker.json["asset"]["extras"] = extras
    made = maker.save(path.parent)
    return made.rename(path)


def found(source: str | Path, query: Query = ANY, notices: list[Notice] | None = None) -> dict[str, Asset]:
    """The objects of a source by uid."""
    events = Events() if notices is None else Events(notice=notices.append)
    return {asset.uid: asset for asset in find_assets(str(source), query, events)}


def refused(asset: Asset, cache: Path) -> str:
    """Why an object is not opened with the default licences."""
    with pytest.raises(InputError) as caught:
        open_asset(asset, cache, DEFAULT_LICENCES)
    return str(caught.value)


# folders


def test_a_folder_without_a_manifest_is_the_users_own(tmp_path: Path) -> None:
    one, two = model(tmp_path / "m" / "fox.glb"), model(tmp_path / "m" / "sub" / "My Dog!.glb", {"license": "by-nc", "author": "Ann"})
    (tmp_path / "m" / "readme.md").write_text("hello")
    assets = found(tmp_path / "m")
    assert {uid: asset.file for uid, asset in assets.items()} == {"fox": str(one), "sub_My_Dog": str(two)}
    opened = open_asset(assets["fox"], tmp_path, DEFAULT_LICENCES)
    assert opened.asset.licence == "own"
    assert [m.name for m in opened.motions() if not isinstance(m, Exception)] == ["bend"]
    assert "licence 'by-nc' is not allowed; allowed: CC0, CC-BY" in refused(assets["sub_My_Dog"], tmp_path)  # the file itself says so


def test_a_manifest_names_licences_and_animations(tmp_path: Path) -> None:
    model(tmp_path / "a.glb")
    model(tmp_path / "b.glb")
    model(tmp_path / "stray.glb")
    entries: list[dict[str, Any]] = [
        {"name": "alpaca", "file": "a.glb", "licence": "CC0-1.0", "attribution": "Quaternius", "source_repo": "https://x/y"},
        {"file": "b.glb", "license": "CC-BY-NC-4.0"},
        {"file": "gone.glb", "license": "CC0"},
    ]
    entries[0]["recommended_animation"] = "bend"
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    notices: list[Notice] = []
    assets = found(tmp_path, notices=notices)
    assert sorted(assets) == ["alpaca", "b", "stray"]
    assert [n.code for n in notices] == ["manifest-files-missing"]
    opened = open_asset(assets["alpaca"], tmp_path, DEFAULT_LICENCES).asset
    assert (opened.licence, opened.author, opened.source, opened.attribution) == ("CC0-1.0", "Quaternius", "https://x/y", "Quaternius")
    assert "'CC-BY-NC-4.0' is not allowed" in refused(assets["b"], tmp_path)
    assert "states no licence" in refused(assets["stray"], tmp_path)  # a manifest that leaves it out does not make it free
    assert found(tmp_path, Query("", recommended=True))["alpaca"].animations == ("bend",)


def test_sketchfabs_extras_complete_what_a_source_leaves_open(tmp_path: Path) -> None:
    extras = {
        "author": "Ann",
        "license": "CC-BY-4.0 (http://creativecommons.org/licenses/by/4.0/)",
        "source": "https://s/1",
        "title": "Fox",
    }
    asset = open_asset(Asset("u", str(model(tmp_path / "a.glb", extras))), tmp_path, DEFAULT_LICENCES).asset
    assert asset.attribution == "Fox, Ann, https://s/1, CC-BY-4.0 (http://creativecommons.org/licenses/by/4.0/)"


@pytest.mark.parametrize("text", ["{", '{"file": "a.glb"}', '[{"name": "a"}]', "[3]"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        find_assets(str(tmp_path), ANY)


def test_names_that_collide_are_refused(tmp_path: Path) -> None:
    model(tmp_path / "a_b.glb")
    model(tmp_path / "a b.glb")
    with pytest.raises(InputError, match="a_b: two objects have this uid"):
        find_assets(str(tmp_path), ANY)


def test_empty_and_absent_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no objects found"):
        find_assets(str(tmp_path), ANY)
    with pytest.raises(InputError, match="no such folder"):
        find_assets(str(tmp_path / "nowhere"), ANY)
    with pytest.raises(InputError, match="no such list"):
        find_assets(str(tmp_path / "nowhere.txt"), ANY)
    with pytest.raises(InputError, match="limit: expected 0 or more, got -1"):
        find_assets("procedural", Query("", limit=-1))


def test_a_folder_elsewhere_has_a_manifest_too(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a/fox.glb", "a/dog.glb", "a/cat.gltf"):
        memory.pipe(f"/{tmp_path.name}/{name}", model(tmp_path / "fox.glb").read_bytes())
    address = f"memory://{tmp_path.name}"
    assert {uid: asset.is_own for uid, asset in found(address).items()} == {"a_fox": True, "a_dog": True}
    entries = [{"file": "a/fox.glb", "licence": "CC0"}, {"file": "gone.glb"}]
    memory.pipe(f"/{tmp_path.name}/manifest.json", json.dumps(entries).encode())
    notices: list[Notice] = []
    assets = found(address, notices=notices)
    assert {uid: (asset.licence, asset.is_own) for uid, asset in assets.items()} == {"a_fox": ("CC0", False), "a_dog": ("", False)}
    assert [n.code for n in notices] == ["manifest-files-missing"]
    memory.pipe(f"/{tmp_path.name}/manifest.json", b"{")
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        found(address)


def test_what_lies_on_the_web_is_not_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"fox.glb": "https://example.com/models/fox.glb"}
    monkeypatch.setattr("chronosplat.data.sources.folder._remote", lambda address: (listed, None))
    assert not found("https://example.com/models")["fox"].is_own


def test_a_folder_elsewhere_that_cannot_be_listed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*words: object) -> list[str]:
        raise OSError("no route\nto host")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.find", unreachable)
    with pytest.raises(InputError, match=r"memory://models: cannot be listed \(OSError: no route to host\)$"):
        found("memory://models")


def test_a_source_cannot_call_its_objects_the_users_own(tmp_path: Path) -> None:
    model(tmp_path / "fox.glb")
    (tmp_path / "list.csv").write_text("file,licence\nfox.glb,own\n")
    assert "licence 'own' is not allowed" in refused(found(tmp_path / "list.csv")["fox"], tmp_path)


# lists


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json", ".jsonl"])
def test_lists(tmp_path: Path, suffix: str) -> None:
    model(tmp_path / "m" / "fox.glb")
    rows = [{"file": "m/fox.glb", "licence": "CC0"}, {"file": "s3://bucket/dog.glb", "licence": "by"}]
    text = {
        ".txt": "# two objects\nm/fox.glb\n\ns3://bucket/dog.glb\n",
        ".csv": "file,licence\nm/fox.glb,CC0\ns3://bucket/dog.glb,by\n",
        ".json": json.dumps(rows),
        ".jsonl": "\n".join(json.dumps(row) for row in rows),
    }[suffix]
    path = tmp_path / f"list{suffix}"
    path.write_text(text)
    assets = found(path)
    assert {uid: asset.file for uid, asset in assets.items()} == {"fox": str(tmp_path / "m" / "fox.glb"), "dog": "s3://bucket/dog.glb"}
    assert assets["dog"].licence == ("" if suffix == ".txt" else "by")
    if suffix == ".txt":  # nothing says that they may be used
        assert "states no licence" in refused(assets["fox"], tmp_path)


@pytest.mark.parametrize(("suffix", "text"), [(".json", "{"), (".jsonl", "1\n"), (".csv", "name\nfox\n"), (".json", '[{"uid": "a"}]')])
def test_bad_lists_are_refused(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"list{suffix}"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"list{suffix}: "):
        find_assets(str(path), ANY)


# Objaverse


def sketchfab(uid: str, licence: object, animations: int) -> dict[str, Any]:
    """Facts as Objaverse's metadata have them."""
    user = {"username": "ann", "displayName": "Ann A.", "profileUrl": "https://sketchfab.com/ann"}
    address = f"https://sketchfab.com/3d-models/{uid}"
    return {"uid": uid, "name": f"Model {uid}", "animationCount": animations, "viewerUrl": address, "user": user, "license": licence}


def objaverse(root: Path) -> Path:
    """A mirror with five objects in two files of metadata."""
    facts = {
        "a" * 32: sketchfab("a" * 32, "by", 2),
        "b" * 32: sketchfab("b" * 32, "by-nc", 1),
        "c" * 32: sketchfab("c" * 32, "by", 0),
        "d" * 32: sketchfab("d" * 32, "cc0", 1),
        "e" * 32: sketchfab("e" * 32, {"label": "CC Attribution"}, 1),
    }
    paths = {uid: f"glbs/000-00{i % 2}/{uid}.glb" for i, uid in enumerate(facts)}
    (root / "metadata").mkdir(parents=True)
    for i in range(2):
        part = {uid: facts[uid] for j, uid in enumerate(facts) if j % 2 == i}
        (root / "metadata" / f"000-00{i}.json.gz").write_bytes(gzip.compress(json.dumps(part).encode()))
    (root / "object-paths.json.gz").write_bytes(gzip.compress(json.dumps(paths).encode()))
    for uid in facts:
        model(root / paths[uid])
    return root


def test_objaverse_filters_by_animation_and_licence_before_anything_is_downloaded(tmp_path: Path) -> None:
    root = objaverse(tmp_path / "mirror")
    assets = found(f"objaverse:{root}")
    assert [uid[0] for uid in assets] == ["a", "d", "e"]
    first = assets["a" * 32]
    assert first.file == str(root / "glbs/000-000" / f"{'a' * 32}.glb")
    assert first.attribution == f'"Model {"a" * 32}" by Ann A. (https://sketchfab.com/3d-models/{"a" * 32}), licence by'
    assert open_asset(first, tmp_path, DEFAULT_LICENCES).asset.author == "Ann A."
    assert [uid[0] for uid in found(f"objaverse:{root}", Query("", animated=False, licences=DEFAULT_LICENCES))] == ["a", "c", "d", "e"]
    assert [uid[0] for uid in found(f"objaverse:{root}", Query("", limit=2, licences=DEFAULT_LICENCES))] == ["a", "d"]
    assert [uid[0] for uid in found(f"objaverse:{root}", Query("", licences=("CC-BY-NC",)))] == ["b"]


def test_objaverse_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = objaverse(tmp_path / "mirror")
    asked: list[tuple[str, str]] = []

    def download(repository: str, name: str) -> Path:
        asked.append((repository, name))
        if name.startswith("metadata") and not (root / name).exists():
            (root / name).write_bytes(gzip.compress(b"{}"))
        return root / name

    monkeypatch.setattr("chronosplat.data.sources.objaverse.hub_file", download)
    monkeypatch.setattr("chronosplat.data.sources.files.hub_file", download)
    asset = found("objaverse")["d" * 32]
    assert len(asked) == 161
    assert set(asked) >= {("allenai/objaverse", "object-paths.json.gz"), ("allenai/objaverse", "metadata/000-159.json.gz")}
    assert asset.file == f"hf://allenai/objaverse/glbs/000-001/{'d' * 32}.glb"
    assert open_asset(asset, tmp_path, DEFAULT_LICENCES).path == root / f"glbs/000-001/{'d' * 32}.glb"
    assert asked[-1] == ("allenai/objaverse", f"glbs/000-001/{'d' * 32}.glb")


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*words: str, **options: str) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(InputError, match=r"hf://allenai/objaverse/object-paths\.json\.gz: cannot be downloaded \(ConnectionError\)"):
        find_assets("objaverse", ANY)


def test_a_damaged_mirror_is_refused(tmp_path: Path) -> None:
    root = objaverse(tmp_path / "mirror")
    (root / "metadata" / "000-001.json.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(InputError, match=r"000-001\.json\.gz: damaged"):
        find_assets(f"objaverse:{root}", ANY)
    with pytest.raises(InputError, match=r"object-paths\.json\.gz: missing; the mirror needs the layout of allenai/objaverse"):
        find_assets(f"objaverse:{tmp_path}", ANY)


# TexVerse


def archive(path: Path, files: dict[str, bytes]) -> None:
    """A zip file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)


def texverse(root: Path) -> Path:
    """A mirror with three archives: a model, one without a model, and one that is not in the list of animated ones."""
    glb = model(root / "made.glb").read_bytes()
    archive(root / "models" / "000-000" / "aa.zip", {"source/deep/other.glb": glb, "source/fox.glb": glb, "textures/t.png": b"x"})
    archive(root / "models" / "000-001" / "bb.zip", {"source/dog.fbx": b"x"})
    archive(root / "models" / "000-001" / "cc.zip", {"source/cat.glb": glb})
    (root / "made.glb").unlink()
    (root / "model_paths.txt").write_text("models/000-000/aa.zip\nmodels/000-001/bb.zip\nmodels/000-001/cc.zip\n")
    (root / "TexVerse-Animation_id_list.txt").write_text("aa\nbb\nabsent\nnc\n")
    facts = {"aa": sketchfab("aa", "CC BY", 1), "bb": sketchfab("bb", "by", 1), "cc": sketchfab("cc", "by", 1)}
    (root / "metadata.json").write_text(json.dumps(facts))
    return root


def test_texverse(tmp_path: Path) -> None:
    root = texverse(tmp_path / "mirror")
    notices: list[Notice] = []
    assets = found(f"texverse:{root}", notices=notices)
    assert sorted(assets) == ["aa", "bb"]
    assert [n.text for n in notices] == ["texverse: 2 of 4 listed models have no archive"]
    opened = open_asset(assets["aa"], tmp_path / "cache", DEFAULT_LICENCES)
    assert opened.path is not None
    assert opened.path.name == "fox.glb"
    assert (opened.path.parents[1] / "textures" / "t.png").read_bytes() == b"x"
    assert open_asset(assets["aa"], tmp_path / "cache", DEFAULT_LICENCES).path == opened.path
    assert "no .glb or .gltf file inside (it holds .fbx); convert it first" in refused(assets["bb"], tmp_path / "cache")
    with pytest.raises(InputError, match="the list of animated models is missing; give texverse:TexVerse-Animation_id_list"):
        find_assets("texverse", ANY)


def test_archives_that_misbehave_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {"up": {"../fox.glb": b"x"}, "root": {"/fox.glb": b"x"}}
    for name, files in cases.items():
        archive(tmp_path / f"{name}.zip", files)
        with pytest.raises(InputError, match="leaves the archive's folder"):
            fetch(str(tmp_path / f"{name}.zip"), tmp_path / "cache")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "up.zip").read_bytes()[:-30])
    with pytest.raises(InputError, match="cannot be unpacked"):
        fetch(str(tmp_path / "cut.zip"), tmp_path / "cache")
    monkeypatch.setattr("chronosplat.data.sources.files.UNPACKED_MOST", 1000)
    archive(tmp_path / "bomb.zip", {"a.glb": bytes(2000)})
    with pytest.raises(InputError, match="unpacks to"):
        fetch(str(tmp_path / "bomb.zip"), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.glb"))


# Objaverse-XL-Rigged-Animated


def test_rigged(tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    for name in ("a1", "b2", "c3"):
        model(root / "glb" / f"{name}.glb")
    table = "sha256,file_name,License,source_url,author\na1,glb/a1.glb,CC-BY-4.0,https://github.com/x/y,x\nb2,,MIT,https://github.com/z,z\n"
    (root / "metadata.csv").write_text(table)
    notices: list[Notice] = []
    assets = found(f"objaverse-xl-rigged:{root}", notices=notices)
    assert [(a.uid, a.licence, a.author) for a in assets.values()] == [("a1", "CC-BY-4.0", "x"), ("b2", "MIT", "z"), ("c3", "", "")]
    assert [n.code for n in notices] == ["models-without-facts"]
    assert open_asset(assets["a1"], tmp_path, DEFAULT_LICENCES).asset.attribution == "a1, x, https://github.com/x/y, CC-BY-4.0"
    assert "'MIT' is not allowed" in refused(assets["b2"], tmp_path)
    assert "states no licence" in refused(assets["c3"], tmp_path)


# procedural objects and files elsewhere


def test_procedural() -> None:
    assets = found("procedural:blob", Query("", limit=3))
    assert [a.file for a in assets.values()] == ["procedural:blob:0", "procedural:blob:1", "procedural:blob:2"]
    assert len(found("procedural")) == 100
    with pytest.raises(InputError, match="unknown family"):
        find_assets("procedural:unicorn", ANY)


def test_files_of_any_address_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/models/fox.glb", model(tmp_path / "fox.glb").read_bytes())
    assets = found("memory://models")
    assert [a.file for a in assets.values()] == ["memory:///models/fox.glb"]
    first = fetch(assets["fox"].file, tmp_path / "cache")
    memory.rm("/models/fox.glb")
    assert fetch(assets["fox"].file, tmp_path / "cache") == first
    with pytest.raises(InputError, match=r"memory://models/none\.glb: no such file"):
        fetch("memory://models/none.glb", tmp_path / "cache")
    with pytest.raises(InputError, match="no such file"):
        fetch(str(tmp_path / "none.glb"), tmp_path / "cache")


@pytest.mark.parametrize(("failures", "reached"), [(3, True), (4, False)])
def test_a_download_is_tried_four_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, reached: bool) -> None:
    memory, waits, usual = fsspec.filesystem("memory"), [], MemoryFileSystem.open
    memory.pipe(f"/{tmp_path.name}/fox.glb", b"fox")

    def flaky(self: MemoryFileSystem, path: str, *words: Any, **options: Any) -> Any:
        if len(waits) < failures:
            raise ConnectionResetError("by peer")
        return usual(self, path, *words, **options)

    monkeypatch.setattr(MemoryFileSystem, "open", flaky)
    monkeypatch.setattr("chronosplat.data.sources.files.time.sleep", waits.append)
    address = f"memory://{tmp_path.name}/fox.glb"
    if reached:
        assert fetch(address, tmp_path / "cache").read_bytes() == b"fox"
    else:
        with pytest.raises(UnreachedError, match=r"fox\.glb: cannot be downloaded \(ConnectionResetError: by peer\)"):
            fetch(address, tmp_path / "cache")
    assert waits == [1, 5, 20]


def test_what_the_hub_does_not_have_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import EntryNotFoundError

    def absent(*words: str, **options: str) -> str:
        raise EntryNotFoundError("404")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    with pytest.raises(InputError, match=r"hf://a/b/c\.glb: cannot be had \(EntryNotFoundError\)") as caught:
        fetch("hf://a/b/c.glb", tmp_path)
    assert not isinstance(caught.value, UnreachedError)
