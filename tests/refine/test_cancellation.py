"""A cancellation keeps the best so far; an interrupt is raised."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

import chronosplat
from chronosplat.events import Events, interruptible
from chronosplat.refine import fit, refine_scene
from tests.refine.kit import (
    blobs,
    cancelled_in,
    few,
    in_step,
    interrupted_in,
    psnr_of,
    said,
    same,
    three_frames,
    unseen,
    video_views,
    views,
    wrong,
)


@pytest.mark.parametrize("step", [1, 3, 14, 15, 16, 24])
def test_a_cancellation_never_leaves_a_scene_worse_than_the_prediction(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the search, at the first steps of the final run from its new start, and late in it."""
    scene = wrong(blobs())
    done = refine_scene(scene, views(), few(40), cancelled_in(step, monkeypatch))
    assert (done.facts["stopped"], done.facts["steps"]) == ("interrupted", step)
    code = "prediction-kept" if done.facts["kept"] else "stopped-early"
    assert "stopped early (interrupted)" in said(done, code)
    assert psnr_of(done.scene, views()) >= psnr_of(scene, views())


def test_a_cancellation_in_the_final_run_keeps_what_the_search_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    done = refine_scene(wrong(blobs()), views(), few(200, strategy="free"), cancelled_in(90, monkeypatch))
    assert done.facts["stopped"] == "interrupted"
    assert psnr_of(done.scene, unseen()) > psnr_of(wrong(blobs()), unseen()) + 2.5


def test_a_cancellation_from_a_progress_callback_keeps_the_best() -> None:
    events = Events(progress=lambda stage, done, total, note="": events.cancel.request() if done >= 50 else None)
    done = refine_scene(wrong(blobs()), views(), few(120), events)
    assert done.facts["stopped"] == "interrupted"
    assert 40 < done.facts["steps"] < 120
    assert psnr_of(done.scene, views()) > psnr_of(wrong(blobs()), views()) + 2


@pytest.mark.parametrize("step", [1, 5, 15])
def test_a_cancellation_while_fitting_gives_a_scene(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = fit(views(), few(40), cancelled_in(step, monkeypatch))
    assert (done.facts["steps"], done.facts["kept"]) == (step, False)
    assert done.facts["stopped"] == "interrupted"
    assert "the best state so far is kept" in said(done, "stopped-early")
    assert all(bool(t.isfinite().all()) for t in done.scene.tensors().values())


DEFORMED = few(60, strategy="deform")

RUNS: dict[str, Callable[[], object]] = {
    "free": lambda: refine_scene(wrong(blobs()), views(), few(40, strategy="free")),
    "gentle": lambda: refine_scene(wrong(blobs()), video_views(), few(40, strategy="gentle")),
    "deform": lambda: refine_scene(wrong(blobs()), video_views(), DEFORMED),
    "frames": lambda: refine_scene(wrong(three_frames()), views(), few(40)),
    "from random points": lambda: fit(views(), few(40)),
    "public function": lambda: chronosplat.refine(wrong(blobs()), views(), steps=40),
}


@pytest.mark.parametrize("what", RUNS)
def test_an_interrupt_is_raised(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_in(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        RUNS[what]()


WATCHED: dict[str, Callable[[Events], object]] = {
    "free": lambda events: refine_scene(wrong(blobs()), views(), few(10, strategy="free"), events),
    "deform": lambda events: refine_scene(wrong(blobs()), video_views(), DEFORMED, events),
    "frames": lambda events: refine_scene(wrong(three_frames()), views(), few(10), events),
    "from random points": lambda events: fit(views(), few(10), events),
}


@pytest.mark.parametrize("what", WATCHED)
def test_the_token_is_watched_while_steps_are_made_and_not_afterwards(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only then does the first Ctrl-C ask for the best so far."""
    events, watched = Events(), list[bool]()
    for step in range(1, 9):
        in_step(step, monkeypatch, lambda: watched.append(events.cancel.is_watched))
    WATCHED[what](events)
    assert watched == [True] * 8
    assert not events.cancel.is_watched


@pytest.mark.parametrize("what", WATCHED)
def test_an_interrupt_leaves_the_token_unwatched(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events()
    interrupted_in(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        WATCHED[what](events)
    assert not events.cancel.is_watched


def test_ctrl_c_at_the_public_door_returns_the_best_so_far(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        wanted = refine_scene(wrong(blobs()), views(), few(120, strategy="gentle"), cancelled_in(30, patch)).scene
    in_step(30, monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    assert same(chronosplat.refine(wrong(blobs()), views(), steps=120, strategy="gentle"), wanted)
    assert psnr_of(wanted, views()) > psnr_of(wrong(blobs()), views()) + 1
    assert "stopped early (interrupted)" in caplog.text
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_ctrl_c_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    in_step(3, monkeypatch, twice)
    with pytest.raises(KeyboardInterrupt):
        chronosplat.refine(wrong(blobs()), views(), steps=40)


def test_ctrl_c_where_nobody_looks_at_the_token_is_raised() -> None:
    events = Events()
    with pytest.raises(KeyboardInterrupt), interruptible(events.cancel):
        signal.raise_signal(signal.SIGINT)
    assert not events.cancel.requested
