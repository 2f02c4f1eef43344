"""Plots are valid SVG, the page is one file that needs nothing else, and tables hold the means."""

from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chronosplat.evaluate.benchmark import EvalConfig, ReportImages, Results
from chronosplat.evaluate.plots import bar_plot, line_plot
from chronosplat.evaluate.report import clip_plot, markdown, table, time_plot, views_plot, write_report
from chronosplat.events import info
from tests.evaluate.kit import row
from tests.scene_kit import law

NAN = math.nan
METHODS = ("white", "feed-forward", "fast")
SETUPS = ("alternating", "random")
FIGURES = st.one_of(st.floats(-1e6, 1e6), st.floats(20, 20.0001), st.sampled_from([NAN, math.inf, 0.0, 30.0]))


def count(svg: str, tag: str) -> int:
    """How many elements of a kind; that all of them lie in the picture is checked on the way."""
    found = list(ElementTree.fromstring(svg).iter(tag))
    for element in found:
        for key, most in (("cx", 560.0), ("cy", 300.0), ("x", 560.0), ("y", 300.0)):
            if key in element.attrib:
                assert 0 <= float(element.attrib[key]) <= most, element.attrib
    return len(found)


def test_lines() -> None:
    svg = line_plot("a <title>", "views & more", "dB", {"fast": [(1, 20), (4, 25), (12, 27)], 'b "quoted"': [(1, 18), (4, 19)]}, log_x=True)
    assert count(svg, "polyline") == 2
    assert count(svg, "circle") == 5
    texts = [t.text for t in ElementTree.fromstring(svg).iter("text")]
    assert {"a <title>", "views & more", "dB", "fast", 'b "quoted"'} <= set(texts)
    assert count(line_plot("t", "x", "y", {"a": [(1, 20), (4, 25)]}, joined=False), "polyline") == 0


def test_points_are_where_their_values_are() -> None:
    svg = line_plot("t", "x", "y", {"a": [(1, 30), (3, 10), (2, 20)]})
    dots = [(float(e.attrib["cx"]), float(e.attrib["cy"])) for e in ElementTree.fromstring(svg).iter("circle")]
    assert dots == sorted(dots)  # from left to right, and lower values further down
    assert [y for _, y in dots] == sorted(y for _, y in dots)
    assert dots[1] == pytest.approx(((dots[0][0] + dots[2][0]) / 2, (dots[0][1] + dots[2][1]) / 2), abs=0.11)


def test_nan_is_left_out() -> None:
    svg = line_plot("t", "x", "y", {"a": [(1, 20), (2, NAN), (3, 22)], "b": [(NAN, 20)], "c": [(1, math.inf)]})
    assert count(svg, "circle") == 2
    assert "nan" not in svg
    assert "inf" not in svg
    bars = bar_plot("t", "dB", {"a": {"m": 20.0, "n": NAN}, "b": {"n": 21.0}})
    assert count(bars, "title") == 2
    assert "nan" not in bars


@pytest.mark.parametrize("points", [[(5.0, 30.0)], [(5.0, 30.0), (5.0, 30.0)], [(0.0, 0.0)], [(1.0, 30.0), (2.0, 30.0)]])
@pytest.mark.parametrize("log_x", [False, True])
def test_one_point_and_equal_values(points: list[tuple[float, float]], log_x: bool) -> None:
    assert count(line_plot("t", "x", "y", {"a": points}, log_x), "circle") == len(points)
    assert count(bar_plot("t", "dB", {str(i): {"a": y} for i, (_, y) in enumerate(points)}), "title") == len(points)


def test_nothing_to_plot_is_no_plot() -> None:
    assert line_plot("t", "x", "y", {}) == line_plot("t", "x", "y", {"a": [(1, NAN)]}) == ""
    assert bar_plot("t", "y", {}) == bar_plot("t", "y", {"a": {"m": NAN}}) == ""


@law
@given(st.lists(st.tuples(FIGURES, FIGURES), max_size=20), st.booleans())
def test_any_figures_give_valid_plots(points: list[tuple[float, float]], log_x: bool) -> None:
    finite = [p for p in points if all(math.isfinite(v) for v in p)]
    svg = line_plot("t", "x", "y", {"a": points}, log_x)
    assert (count(svg, "circle") if svg else 0) == len(finite)
    bars = bar_plot("t", "dB", {str(i): {"a": y} for i, (_, y) in enumerate(points)})
    assert (count(bars, "title") if bars else 0) == sum(math.isfinite(y) for _, y in points)


def results() -> Results:
    """Two captures, one with a name that HTML would trip over, in two set-ups by three methods, and a curve."""
    found = Results(EvalConfig(("a.glb", "b&<b>.glb")), notices=[info("no-lpips", "LPIPS left out: <no weights>")])
    pictures = torch.rand(4, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    for capture, more in (("a", 0.0), ("b&<b>", 2.0)):
        for setup in SETUPS:
            found.rows += [row(capture, setup, m, psnr=20.0 + i + more, lpips=NAN, seconds=float(i)) for i, m in enumerate(METHODS)]
            found.images.append(ReportImages(capture, setup, pictures[:3], pictures, {m: pictures.flip(0) for m in METHODS}))
        for views in (1, 4):
            found.rows.append(row(capture, f"random, {views} views", "fast", psnr=15.0 + views + more))
            found.images.append(ReportImages(capture, f"random, {views} views", pictures, pictures, {"fast": pictures}))
    return found


class Page(HTMLParser):
    """Collects images, headings, texts, and whatever would be loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.texts: list[str] = []
        self.elsewhere: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "srcset"):
                (self.images if (value or "").startswith("data:image/") else self.elsewhere).append(value or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page(tmp_path: Path) -> None:
    write_report(results(), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.elsewhere == []
    assert not re.search(r"https?://|@import|url\(", text)
    assert not {"script", "link", "iframe"} & set(page.tags)
    for name in (*SETUPS, *METHODS):
        assert name in page.texts
    assert "LPIPS left out: <no weights>" in page.texts
    assert any("b&<b>, random" in t for t in page.texts)
    assert "b" not in page.tags
    strips = 2 * len(SETUPS) * (2 + 2 * len(METHODS))  # inputs, targets, and renderings and errors of each method
    assert len(page.images) == strips
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_pages_pictures_can_be_decoded(tmp_path: Path) -> None:
    write_report(results(), tmp_path / "report.html")
    sizes = set()
    for source in Page((tmp_path / "report.html").read_text()).images:
        with Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) as picture:
            sizes.add(picture.size)
    assert sizes == {(3 * 16, 16), (4 * 16, 16)}


def test_the_pages_plots_are_valid(tmp_path: Path) -> None:
    write_report(results(), tmp_path / "report.html")
    plots = re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text(), re.DOTALL)
    assert len(plots) == len(SETUPS) + 1 + len(SETUPS)  # against time, the curve, clip by clip
    assert all(ElementTree.fromstring(plot).tag == "svg" for plot in plots)


def test_plots_of_rows() -> None:
    rows = results().rows
    assert count(time_plot(rows, "random"), "circle") == 2  # a picture that needs no model has no time
    assert count(views_plot(rows), "circle") == 2
    assert count(views_plot(rows), "polyline") == 1
    assert count(clip_plot(rows, "random"), "title") == 2 * len(METHODS)
    assert views_plot([r for r in rows if r.setup in SETUPS]) == ""


def test_the_table_of_a_setup() -> None:
    found = table([r for r in results().rows if r.setup == "random"])
    cells = [re.findall(r"<t[dh][^>]*>([^<]*)", line) for line in found.split("<tr>")[1:]]
    assert cells[0] == ["method", "PSNR", "canonical", "random", "foreground", "SSIM", "sharpness", "silhouette", "flicker", "seconds"]
    assert [line[:2] for line in cells[1:]] == [["white", "21.00"], ["feed-forward", "22.00"], ["fast", "23.00"]]
    assert '<td class="best">23.00</td>' in found
    assert '<td class="best">22.00</td>' not in found


def test_the_least_flicker_is_best() -> None:
    found = table([row(method="fast", flicker=0.02), row(method="best", flicker=0.01)])
    assert '<td class="best">0.0100</td>' in found
    assert "<td>0.0200</td>" in found


def test_the_sharpness_nearest_to_one_is_best() -> None:
    values = {"a": 0.8, "b": 1.15, "c": 1.3}
    found = table([row(method=method, sharpness=value) for method, value in values.items()])
    assert '<td class="best">1.150</td>' in found
    assert "<td>0.800</td>" in found
    assert "<td>1.300</td>" in found


@pytest.mark.parametrize(("field", "low", "high"), [("lite0", "0.1000", "0.2000"), ("track_error", "0.1000", "0.2000")])
def test_new_distances_have_columns_where_they_were_measured(field: str, low: str, high: str) -> None:
    found = table([row(method="a", **{field: 0.2}), row(method="b", **{field: 0.1}), row(method="c")])
    assert f'<td class="best">{low}</td>' in found
    assert f"<td>{high}</td>" in found
    assert field.replace("_", " ") in found
    assert field.replace("_", " ") not in table([row()])


def test_a_time_is_never_best() -> None:
    assert '<td class="best">1.0</td>' not in table([row(method="a", seconds=1.0), row(method="b", seconds=2.0)])


def test_the_page_names_all_image_sizes(tmp_path: Path) -> None:
    found = results()
    found.rows[-1].width = found.rows[-1].height = 400
    write_report(found, tmp_path / "report.html")
    assert "images of 16x16, 400x400, seed 0" in (tmp_path / "report.html").read_text()


def test_markdown() -> None:
    lines = markdown(results().rows).splitlines()
    assert lines[0] == "| set-up | white | feed-forward | fast |"
    assert lines[1] == "|---|---|---|---|"
    assert lines[2] == "| alternating | 21.00 (21.00) | 22.00 (21.00) | 23.00 (21.00) |"
    assert lines[4] == "| random, 1 views |  |  | 17.00 (21.00) |"
    assert lines[-1] == "| *wall time* | 0.0 s | 1.0 s | 2.0 s |"
    assert len(lines) == 7


def test_markdown_without_canonical_views_or_set_ups() -> None:
    """A capture without canonical cameras; a curve over the number of views alone."""
    assert "nan" not in markdown([row(psnr_canonical=NAN)])
    assert "20.00" in markdown([row(psnr_canonical=NAN)])
    assert "nan" not in markdown([row(setup="random, 4 views")])
