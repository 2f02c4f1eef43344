"""Views that a reconstruction leaves out or warns of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.captures import Views, save_transforms
from chronosplat.pipeline import ReconstructConfig
from chronosplat.pipeline.checks import check_silhouettes, disagreeing_views, load_views
from chronosplat.pipeline.config import page_title
from chronosplat.shapes import InputError
from tests.refine.kit import bending, blobs, timestamps, views, views_of


def with_alphas(change: torch.Tensor, which: list[int]) -> Views:
    alphas = views().alphas.clone()
    alphas[which] = change.to(alphas)
    return replace(views(), alphas=alphas)


def test_good_views_stay_as_they_are() -> None:
    found = check_silhouettes(views())
    assert len(found) == len(views())
    assert found.notices == ()


def test_empty_views_are_left_out_with_a_warning() -> None:
    found = check_silhouettes(with_alphas(torch.zeros(32, 32, 1), [3, 7]))
    assert len(found) == 22
    assert torch.equal(found.times, views().times[[i for i in range(24) if i not in (3, 7)]])
    (notice,) = found.notices
    assert (notice.level, notice.code) == ("warning", "empty-views")
    assert str(notice).startswith(f"2 of 24 views show no object and are left out, the first at {float(views().times[3]):g} s")


def test_an_object_at_the_border_is_said() -> None:
    cut = torch.zeros(32, 32, 1)
    cut[:20, 5:25] = 1
    (notice,) = check_silhouettes(with_alphas(cut, [0, 1, 2])).notices
    assert str(notice) == "the object reaches the image's border in 3 of 24 views; what lies beyond is missing"


def test_views_without_masks_pass() -> None:
    assert check_silhouettes(with_alphas(torch.ones(32, 32, 1), list(range(24)))).notices == ()


def test_no_object_anywhere_is_refused() -> None:
    with pytest.raises(InputError, match="views: no view shows an object; check the masks"):
        check_silhouettes(with_alphas(torch.zeros(32, 32, 1), list(range(24))))


def together() -> Views:
    """Eight cameras at three timestamps."""
    cameras = orbit([45.0 * i for i in range(8)] * 3, size=32)
    return replace(views(), cameras=cameras, times=torch.arange(24, dtype=torch.float64) // 8)


def test_a_view_that_is_far_worse_than_the_others_of_its_timestamp_is_named() -> None:
    psnrs = [30.0 + 0.1 * i for i in range(24)]
    assert disagreeing_views(psnrs, together()) == []
    psnrs[5], psnrs[9] = 22.0, 20.5
    (notice,) = disagreeing_views(psnrs, together())
    assert str(notice) == (
        "2 of 24 views disagree with the others; worst: view 9 at 1 s (20.5 dB, median 31.2 dB); check their pose and timestamp"
    )
    assert disagreeing_views(psnrs[:6], together()[:6]) == []  # too few to tell


def test_the_views_of_a_whole_camera_are_said_to_be() -> None:
    psnrs = [20.0 if i % 8 == 3 else 30.0 for i in range(24)]
    (notice,) = disagreeing_views(psnrs, together())
    assert str(notice).startswith("3 of 24 views, all of camera 3, disagree with the others; worst: view 3 at 0 s (20.0 dB")
    assert str(notice).endswith("check its pose and timestamp")


def test_views_alone_at_their_timestamp_are_not_judged() -> None:
    assert disagreeing_views([30.0] * 23 + [15.0], views()) == []


def test_a_timestamp_that_is_hard_for_all_its_views_is_no_mistake_of_one() -> None:
    assert disagreeing_views([30.0] * 20 + [20.0] * 4, together()) != []
    assert disagreeing_views([30.0] * 19 + [20.0] * 5, together()) == []  # five of the eight of the last timestamp


def saved(found: Views, folder: Path) -> Views:
    """Views as the pipeline loads them."""
    save_transforms(found, folder, "train")
    return load_views(ReconstructConfig(str(folder)))


def test_cameras_that_all_look_the_same_way_leave_sides_unseen(tmp_path: Path) -> None:
    cameras, times = orbit([1.0 * i for i in range(9)], size=32), timestamps(9)
    assert [notice.code for notice in saved(views_of(blobs(), cameras, times), tmp_path / "near").notices] == ["single-view"]
    around = orbit([10.0 * i for i in range(9)], size=32)
    assert saved(views_of(blobs(), around, times), tmp_path / "around").notices == ()


def test_cameras_that_disagree_are_named_as_views_are_loaded(tmp_path: Path) -> None:
    cameras = orbit([45.0 * i for i in range(8)] * 2, [0.0, 30.0, -20.0, 40.0] * 4, size=32)
    good = views_of(bending(), cameras, timestamps(2).repeat_interleave(8))
    assert saved(good, tmp_path / "good").notices == ()
    viewmats = cameras.viewmats.clone()
    viewmats[2::8, 1, 3] += 0.2
    (notice,) = saved(replace(good, cameras=replace(cameras, viewmats=viewmats)), tmp_path / "bad").notices
    assert str(notice).startswith("camera 2 (views 2, 10) contradicts the silhouettes of the others")


@pytest.mark.parametrize(
    ("name", "title", "shown"),
    [
        ("fox.v2", "", "fox.v2"),
        ("fox.v2/transforms.json", "", "fox.v2"),
        ("cat.mp4", "", "cat"),
        ("fox.v2/.", "", "fox.v2"),
        ("cat.mp4", "My cat", "My cat"),
    ],
)
def test_the_page_is_named_after_the_input(tmp_path: Path, name: str, title: str, shown: str) -> None:
    (tmp_path / "fox.v2").mkdir()
    assert page_title(ReconstructConfig(str(tmp_path / name), title=title)) == shown
