"""Edits are recorded in the scene, kept in its file, and replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import chronosplat as cs
from chronosplat.edit import (
    Crop,
    Decimate,
    Edit,
    Loop,
    Move,
    Recolour,
    Retime,
    Rotate,
    Scale,
    SlowMotion,
    Trim,
    edit,
    edit_kinds,
    edits_from_records,
    history,
    read_edits,
)
from chronosplat.scenes import SequenceWriter, StoredSequence, stored_sequence
from chronosplat.shapes import InputError
from tests.edit.edit_kit import KINDS, assert_same_at, every_kind, times_of
from tests.scene_kit import sequence_scene

STEPS: list[Edit] = [
    Move((0.1, -0.2, 1.0)),
    Rotate(30.0, about=(1.0, 0.0, 0.0)),
    Scale(1.5),
    Crop(box=(-9.0, -9.0, -9.0, 9.0, 9.0, 15.0), outside=False),
    Recolour(hue=20.0, tint=(1.0, 0.9, 0.8)),
    Decimate(4),
]


@every_kind
def test_recorded_edits_replay_to_the_same_scene(kind: str, tmp_path: Path) -> None:
    scene = KINDS[kind]()
    edited = edit(edit(scene, STEPS[:3]), STEPS[3:])
    assert history(edited) == STEPS
    cs.save_scene(edited, tmp_path / "a.safetensors", {"model": "toy"})
    again = cs.load_scene(tmp_path / "a.safetensors")
    assert history(again) == STEPS
    assert again.notes["model"] == "toy"
    replayed = edit(scene, read_edits(tmp_path / "a.safetensors"))
    for name, tensor in edited.tensors().items():
        assert torch.equal(replayed.tensors()[name], tensor), name
    (tmp_path / "a.json").write_text(edited.notes["edits"])
    assert read_edits(tmp_path / "a.json") == STEPS


def test_every_edit_has_a_record_that_reads_back() -> None:
    examples = [
        *STEPS,
        Trim(0.5, 1.0),
        Retime(start=-1.0),
        SlowMotion(2.0, end=0.7),
        Loop(0.25),
        Crop(sphere=(0.0, 0.0, 0.0, 1.0), outside=True),
    ]
    for kind in edit_kinds().values():
        example = next((step for step in examples if type(step) is kind), None) or kind(*["b.ply"][: kind.name == "merge"])
        assert edits_from_records(json.loads(json.dumps([example.record()]))) == [example]


def test_notes_survive_edits_and_no_edits_leave_no_note() -> None:
    scene = KINDS["static"]().with_notes({"model": "toy"})
    assert edit(scene, []).notes == {"model": "toy"}
    assert json.loads(edit(scene, [Scale(2.0)]).notes["edits"]) == [{"edit": "scale", "factor": 2.0}]
    assert edit(scene, [Scale(2.0)]).notes["model"] == "toy"


def test_a_sequence_on_disk_is_edited_in_memory_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = sequence_scene(4)
    with SequenceWriter(tmp_path / "s.safetensors", scene.times, scene.num_gaussians, notes={"model": "toy"}) as writer:
        writer.write(0, scene.tensors())
    stored = StoredSequence(tmp_path / "s.safetensors")
    edited = edit(stored, [Scale(2.0)])
    assert_same_at(edit(scene, [Scale(2.0)]), edited, times_of(scene))
    assert edited.notes["model"] == "toy"
    cs.export(scene, f"{tmp_path}/frames/", up="capture")
    files = cs.load_scene(f"{tmp_path}/frames/")
    assert_same_at(edit(scene, [Scale(2.0)]), edit(files, [Scale(2.0)]), times_of(scene))
    monkeypatch.setattr(stored_sequence, "available_memory", lambda device: 1000)
    with pytest.raises(InputError, match=r"edits hold 3 copies and 0.0 GB of memory are free; edit a part of its frames"):
        edit(stored, [Scale(2.0)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the list of edits is not JSON"),
        ("{}", "expected a list of edits, got dict"),
        ("[]", "lists no edits"),
        ('["crop"]', "edits: expected objects with edit: "),
        ('[{"edit": "explode"}]', "edits: expected objects with edit: "),
        ('[{"edit": ["crop"]}]', "edits: expected objects with edit: "),
        ('[{"edit": "scale"}]', "scale: factor is missing"),
        ('[{"edit": "scale", "factor": 2, "speed": 1}]', "scale: unknown parameter 'speed'; known: factor, about"),
        ('[{"edit": "scale", "factor": "2"}]', "scale: expected float, got '2'"),
        ('[{"edit": "scale", "factor": true}]', "scale: expected float, got 'True'"),
        ('[{"edit": "scale", "factor": NaN}]', "scale: factor: expected finite numbers, got nan"),
        ('[{"edit": "move", "by": [1, 2]}]', "move: expected 3 numbers, got"),
        ('[{"edit": "decimate", "count": 2.5}]', "decimate: expected int, got '2.5'"),
        ("[" * 100_000, "the list of edits is not JSON"),
        (f'[{{"edit": "scale", "factor": 1{"0" * 400}}}]', "scale: "),
    ],
)
def test_damaged_lists_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError) as found:
        read_edits(tmp_path / "a.json")
    assert message in str(found.value)


def test_a_damaged_list_in_a_scene_is_refused() -> None:
    scene: Any = KINDS["static"]().with_notes({"edits": "[1]"})
    with pytest.raises(InputError, match="edits: expected objects with edit"):
        edit(scene, [Scale(2.0)])
