"""The page in headless Chromium, from a file, against our renderer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import Similarity, intrinsics
from chronosplat.metrics import psnr
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, Scene
from chronosplat.viewer import show, write_page
from tests.viewer.kit import SCENES, WORLD, Browser, frame_shells, moving_shell, rig, skinned_shell, static_shell

LEAST = 45.0  # dB; 51 to 53 measured


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A page of each form, written once."""
    folder = tmp_path_factory.mktemp("pages")

    def page(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            scene = SCENES[name](WORLD)
            first, last = scene.seconds or (0.0, 0.0)
            write_page(scene, path, rig(WORLD), [first + (last - first) * k / 3 for k in range(4)], render_inputs(scene), title="Shell")
        return path

    return page


def render_inputs(scene: Scene) -> Tensor:
    first, _ = scene.seconds or (0.0, 0.0)
    return render(scene, rig(WORLD, 32), [first] * 4).rgb


def at_part(scene: Scene, part: float) -> float:
    """A second of a scene, as a part of its duration."""
    first, last = scene.seconds or (0.0, 0.0)
    return first + (last - first) * part


def look(browser: Browser, camera: int, seconds: float) -> Tensor:
    browser.js(f"viewer.frusta.lookThrough({camera}), viewer.player.seek({seconds})")
    return browser.picture()


@pytest.mark.parametrize("name", SCENES)
def test_the_page_equals_the_renderer(name: str, browser: Browser, pages: Callable[[str], Path]) -> None:
    scene, cameras = SCENES[name](WORLD), rig(WORLD)
    browser.open(pages(name))
    for camera, part in ((0, 0.1), (1, 0.55), (3, 0.93)):
        seconds = at_part(scene, part)
        wanted = render(scene, cameras[camera], [seconds]).rgb[0]
        assert psnr(look(browser, camera, seconds), wanted) > LEAST
    browser.assert_quiet(pages(name))


def test_other_backgrounds_sizes_and_thresholds_equal_the_renderer(browser: Browser, pages: Callable[[str], Path]) -> None:
    scene, camera = static_shell(WORLD), rig(WORLD)[1]
    browser.open(pages("static"))
    browser.js(
        "viewer.stage.setBackground('#3366cc'), viewer.splats.uniforms.size.value = 0.6, viewer.splats.uniforms.threshold.value = 0.5"
    )
    browser.js("viewer.splats.changed()")
    kept = scene.opacities >= 0.5
    thin = Gaussians3D(**{n: x[kept] * (0.6 if n == "scales" else 1.0) for n, x in scene.tensors().items()}, world=WORLD)
    wanted = render(thin, camera, background=[0.2, 0.4, 0.8]).rgb[0]
    assert psnr(look(browser, 1, 0.0), wanted) > LEAST - 5


def test_a_larger_canvas_shows_the_image_of_the_input_camera(browser: Browser, pages: Callable[[str], Path]) -> None:
    """Letter-boxed, with the blur of the input's pixels: the image that the renderer makes, enlarged."""
    scene, camera = static_shell(WORLD), rig(WORLD)[2]
    browser.open(pages("static"), width=700, height=512)
    picture = look(browser, 2, 0.0)[:, 94:606]
    wanted = render(scene, camera.resized(512, 512), eps2d=0.3 * 4).rgb[0]
    assert psnr(picture, wanted) > LEAST


def test_the_first_view_shows_the_whole_scene(browser: Browser, tmp_path: Path) -> None:
    """Without input cameras, in a scene's own world: nothing of it touches the border."""
    path = write_page(static_shell(WORLD), tmp_path / "page.html", background="black")
    browser.open(path, width=300, height=200)
    assert browser.js("document.getElementById('transport').hidden")  # a still scene has no time
    picture = browser.picture()
    border = torch.cat([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert float(border.max()) == 0
    assert 0.1 < float((picture.amax(-1) > 0).float().mean()) < 0.8
    browser.assert_quiet(path)


def test_play_pause_scrub_and_step(browser: Browser, pages: Callable[[str], Path]) -> None:
    first, last = moving_shell().seconds
    browser.open(pages("linear"), width=640, height=360)
    before = browser.picture()
    browser("click", selector="#play")
    shown = browser.js("""new Promise((resolve) => {
        const seen = new Set(), begun = performance.now();
        const look = () => {
            seen.add(viewer.player.time);
            if (seen.size > 2 || performance.now() - begun > 10000) resolve([...seen]);
            else requestAnimationFrame(look);
        };
        look();
    })""")
    assert len(shown) == 3  # time goes on
    assert all(first <= time <= last for time in shown)
    browser("click", selector="#play")
    paused = browser.js("viewer.player.time")
    assert browser.js("new Promise((resolve) => setTimeout(() => resolve(viewer.player.time), 200))") == paused
    assert float((browser.picture() - before).abs().mean()) > 1e-3
    browser("press", key="Home")
    assert torch.equal(browser.picture(), before)
    browser("press", key=".")
    assert browser.js("viewer.player.time") == pytest.approx(first + (last - first) / 3)  # the next input image's time
    browser("press", key="End")
    assert browser.js("viewer.player.time") == last
    box = browser.js(
        "(({left, top, width, height}) => [left, top, width, height])(document.getElementById('scrub').getBoundingClientRect())"
    )
    browser("drag", **{"from": [box[0] + 8, box[1] + box[3] / 2], "to": [box[0] + box[2] / 2, box[1] + box[3] / 2], "button": "left"})
    assert browser.js("viewer.player.time") == pytest.approx((first + last) / 2, abs=0.02 * (last - first))
    browser.assert_quiet(pages("linear"))


AT_THE_END = {  # parts of the duration that pass, and where the player is after each
    "loop": ([0.5, 0.7, 0.6], [0.5, 0.2, 0.8]),
    "ping-pong": ([0.5, 0.7, 0.3], [0.5, 0.8, 0.5]),
    "once": ([0.5, 0.7, 0.3], [0.5, 1.0, 1.0]),
}


def test_what_happens_at_the_end(browser: Browser, pages: Callable[[str], Path]) -> None:
    browser.open(pages("frames"))
    code = f"""(() => {{
        const {{player}} = viewer, span = player.last - player.first;
        viewer.stage.updaters.length = 0;
        return Object.entries({json.dumps(AT_THE_END)}).map(([loop, [steps]]) => {{
            player.setLoop(loop);
            player.seek(player.first);
            if (!player.isPlaying) player.toggle();
            return steps.map((step) => {{ player.update(step * span); return (player.time - player.first) / span; }});
        }});
    }})()"""
    for found, (_, times) in zip(browser.js(code), AT_THE_END.values(), strict=True):
        assert found == pytest.approx(times)


def test_a_sequence_shows_the_nearest_frame(browser: Browser, pages: Callable[[str], Path]) -> None:
    scene = frame_shells()
    browser.open(pages("frames"))
    for index, seconds in enumerate(scene.times.tolist()):
        browser.js(f"viewer.player.seek({seconds - 0.04})")
        assert browser.js("viewer.splats.frame") == index
    browser.js("Promise.all([0.5, 1.0, 1.7, 1.1].map((time) => viewer.player.seek(time)))")  # the last one wins
    assert browser.js("viewer.splats.frame") == 2


def test_orbit_pan_zoom_and_keys(browser: Browser, pages: Callable[[str], Path]) -> None:
    browser.open(pages("static"), width=400, height=300)
    place = "[...viewer.stage.camera.position.toArray(), ...viewer.controls.target.toArray(), viewer.controls.distance]"
    start, before = browser.js(place), browser.picture()
    browser("drag", **{"from": [200, 150], "to": [280, 170], "button": "left"})
    turned = browser.js(place)
    assert turned[3:] == pytest.approx(start[3:], abs=1e-6)  # around the target, at the same distance
    assert float((browser.picture() - before).abs().mean()) > 0.01
    assert browser.js("Math.abs(viewer.controls.right.dot(viewer.controls.up))") < 1e-6  # no roll
    browser("drag", **{"from": [200, 150], "to": [240, 150], "button": "right"})
    panned = browser.js(place)
    assert panned[6] == pytest.approx(turned[6])
    assert panned[3:6] != pytest.approx(turned[3:6], abs=1e-3)
    browser("wheel", at=[200, 150], delta=-200)
    assert browser.js(place)[6] < 0.9 * panned[6]
    browser("press", key="f")
    assert browser.js("viewer.controls.mode") == "fly"
    ahead = "viewer.controls.forward.toArray()"
    forward, before = torch.tensor(browser.js(ahead)), torch.tensor(browser.js(place)[:3])
    browser.js("viewer.controls.pressed.add('w'), viewer.controls.update(0.1), viewer.controls.pressed.clear()")
    flown = torch.tensor(browser.js(place)[:3]) - before
    torch.testing.assert_close(flown / flown.norm(), forward, atol=1e-5, rtol=0)
    browser("press", key="r")
    assert browser.js(place)[:3] == pytest.approx(start[:3], abs=1e-6)
    browser.assert_quiet(pages("static"))


def test_walking_stays_level(browser: Browser, pages: Callable[[str], Path]) -> None:
    browser.open(pages("static"))
    code = """(() => {
        const {controls} = viewer, height = controls.camera.position.y;
        controls.mode = "walk";
        controls.turn(0.3, 0.5);
        const before = controls.camera.position.clone();
        controls.pressed.add("w");
        controls.update(0.2);
        return [controls.camera.position.y - before.y, controls.camera.position.distanceTo(before)];
    })()"""
    rise, way = browser.js(code)
    assert rise == pytest.approx(0, abs=1e-9)
    assert way > 0.05


def test_the_box_measures_and_hides(browser: Browser, pages: Callable[[str], Path]) -> None:
    scene, camera = static_shell(WORLD), rig(WORLD)[0]
    browser.open(pages("static"))
    browser("click", selector="[data-panel=crop]")
    browser("click", selector="#crop-on")
    browser.js("viewer.crop.setSide(0, -0.2), viewer.crop.setSide(4, 0.1)")
    low, high = (torch.tensor(browser.js(f"viewer.crop.box.{name}.toArray()")) for name in ("min", "max"))
    inside = ((scene.means >= low) & (scene.means <= high)).all(-1)
    assert 100 < int(inside.sum()) < 2400
    cut = scene.map(lambda x: x[inside])
    browser.js("viewer.stage.helpers.visible = false, 0")
    assert psnr(look(browser, 0, 0.0), render(cut, camera).rgb[0]) > 38  # splats at the border may fall on either side
    sizes = [float(x) for x in browser.js("document.getElementById('crop-size').textContent").split(" × ")]
    assert sizes == pytest.approx(((high - low) * WORLD.scale).tolist(), rel=5e-3)
    browser("press", key="Escape")  # the panel, which covers half of this small page
    handle = "document.querySelector('.handle').getBoundingClientRect()"  # of the lower x side
    side = browser.js(f"(({{left, top, width, height}}) => [left + width / 2, top + height / 2])({handle})")
    before = browser.js("viewer.crop.box.min.x")
    browser("drag", **{"from": side, "to": [side[0] + 9, side[1] + 9], "button": "left"})
    assert browser.js("viewer.crop.box.min.x") != before


def test_the_camera_path_is_in_the_captures_world(browser: Browser, pages: Callable[[str], Path], tmp_path: Path) -> None:
    scene, cameras = skinned_shell(WORLD), rig(WORLD)
    browser.open(pages("skinned"), width=600, height=500)
    browser("click", selector="[data-panel=path]")
    times = [at_part(scene, 0.2), at_part(scene, 0.8)]
    for camera, seconds in enumerate(times):
        look(browser, camera, seconds)
        browser("click", selector="#path-add")
    assert browser("download", selector="#path-save", path=str(tmp_path / "path.json")) == "camera_path.json"
    saved = json.loads((tmp_path / "path.json").read_text())
    assert [saved[name] for name in ("camera_type", "render_width", "render_height", "fps", "seconds")] == ["perspective", 1280, 720, 24, 4]
    assert [len(saved["camera_path"]), len(saved["keyframes"])] == [96, 2]
    poses = torch.tensor([key["camera_to_world"] for key in saved["keyframes"]]).view(2, 4, 4)
    torch.testing.assert_close(poses, cameras.to_opengl_c2w()[:2].float(), atol=1e-5, rtol=1e-5)
    assert [key["render_time"] for key in saved["keyframes"]] == pytest.approx(times)
    assert saved["camera_path"][0] == saved["keyframes"][0]
    assert saved["camera_path"][-1]["camera_to_world"] == pytest.approx(saved["keyframes"][1]["camera_to_world"], abs=1e-6)
    fov = saved["keyframes"][0]["fov"]
    torch.testing.assert_close(intrinsics(256, 256, fov)[1, 1], cameras.Ks[0, 1, 1].double(), rtol=1e-5, atol=0)
    for entry in saved["camera_path"]:
        rotation = torch.tensor(entry["camera_to_world"]).view(4, 4)[:3, :3]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
        assert entry["aspect"] == pytest.approx(1280 / 720)


def test_a_saved_picture_is_the_canvas_without_helpers(browser: Browser, pages: Callable[[str], Path], tmp_path: Path) -> None:
    from PIL import Image

    browser.open(pages("static"), width=320, height=240)
    clean = browser.picture()
    browser("press", key="c")
    assert float((browser.picture() - clean).abs().max()) > 0.2  # the cameras
    browser("click", selector="[data-panel=capture]")
    assert browser("download", selector="#snapshot", path=str(tmp_path / "picture.png")) == "Shell.png"
    saved = torch.frombuffer(bytearray(Image.open(tmp_path / "picture.png").convert("RGB").tobytes()), dtype=torch.uint8)
    assert torch.equal(saved.view(240, 320, 3).float() / 255, clean)


def test_a_video_is_recorded(browser: Browser, pages: Callable[[str], Path], tmp_path: Path) -> None:
    import av

    browser.open(pages("linear"), width=320, height=240)
    browser("click", selector="[data-panel=capture]")
    browser("click", selector="#record")
    browser.js("document.activeElement.blur()")
    browser("press", key=" ")
    browser.js("new Promise((resolve) => setTimeout(resolve, 1500))")
    name = browser("download", selector="#record", path=str(tmp_path / "video"))
    assert re.fullmatch(r"Shell\.(mp4|webm)", name)
    with av.open(str(tmp_path / "video")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[0].shape == (240, 320, 3)
    assert len(frames) >= 2
    assert (frames[0] != frames[-1]).any()
    browser.assert_quiet(pages("linear"))


def test_it_works_at_phone_size(browser: Browser, pages: Callable[[str], Path]) -> None:
    browser.open(pages("skinned"), width=360, height=640, touch=True)
    for panel in ("view", "cameras", "crop", "path", "capture", "info", "help"):
        browser("click", selector=f"[data-panel={panel}]")
        code = f"""[...document.querySelectorAll('button, input, select, .panel')]
            .filter((x) => x.checkVisibility() && !x.closest('.list, #overlay') && (x.id === '{panel}' || !x.closest('#{panel}')))
            .map((x) => [x.id, x.getBoundingClientRect()])
            .filter(([, b]) => b.left < 0 || b.right > innerWidth || b.top < 0 || b.bottom > innerHeight).map(([id]) => id)"""
        assert browser.js(code) == []
    assert browser.js("document.documentElement.scrollWidth") == 360
    browser("click", selector="[data-panel=help]")
    place = "[viewer.controls.distance, ...viewer.stage.camera.position.toArray()]"
    start = browser.js(place)
    browser("touch", fingers=[[[180, 300], [200, 310], [230, 320]]])  # one finger turns
    turned = browser.js(place)
    assert turned[0] == pytest.approx(start[0])
    assert turned[1:] != pytest.approx(start[1:], abs=1e-3)
    browser("touch", fingers=[[[170, 300], [150, 300], [120, 300]], [[190, 300], [210, 300], [240, 300]]])  # two come closer
    assert browser.js(place)[0] == pytest.approx(start[0] / 6, rel=0.05)
    browser("click", selector="#ahead")
    assert browser.js("viewer.player.time") > browser.js("viewer.player.first")
    browser.assert_quiet(pages("skinned"))


def test_the_interface_has_names(browser: Browser, pages: Callable[[str], Path]) -> None:
    browser.open(pages("frames"))
    code = """[...document.querySelectorAll('button, input, select, canvas')].filter((x) =>
        !(x.getAttribute('aria-label') || x.textContent.trim() || x.labels?.length)).map((x) => x.id || x.outerHTML)"""
    assert browser.js(code) == []


def test_the_interface_hides_while_playing(browser: Browser, pages: Callable[[str], Path]) -> None:
    browser.open(pages("linear"))

    def opacity_becomes(wanted: int) -> bool:
        code = f"""new Promise((resolve) => {{
            const begun = performance.now();
            const look = () => {{
                const isThere = Number(getComputedStyle(document.getElementById('tools')).opacity) === {wanted};
                if (isThere || performance.now() - begun > 15000) resolve(isThere);
                else setTimeout(look, 50);
            }};
            look();
        }})"""
        return browser.js(code)

    browser("press", key=" ")
    assert opacity_becomes(0)
    browser("wheel", at=[100, 100], delta=1)
    assert opacity_becomes(1)


def test_markup_in_texts_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    evil = '</script><script>window.taken=1</script><img src=x onerror="window.taken=1">'
    path = write_page(static_shell(), tmp_path / "page.html", title=evil, notes={evil: evil})
    browser.open(path)
    found = "[document.title, document.getElementById('title').textContent, document.querySelectorAll('img').length, window.taken ?? 0]"
    assert browser.js(found) == [evil, evil, 0, 0]
    assert evil in browser.js("[...document.querySelectorAll('dt')].map((x) => x.textContent)")
    browser.assert_quiet(path)


def test_a_notebook_shows_the_page(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'>{show(moving_shell(), title='A cell')._repr_html_()}", encoding="utf-8")
    browser("open", url=path.as_uri(), width=400, height=560)
    ready = "(() => { const inside = document.querySelector('iframe').contentWindow; return Boolean(inside.viewer?.settled); })()"
    wait = f"new Promise((resolve) => {{ const look = () => {ready} ? resolve(true) : setTimeout(look, 50); look(); }})"
    assert browser.js(wait)
    assert browser.js("document.querySelector('iframe').contentWindow.viewer.settled().then(() => 'done')") == "done"
    assert browser("troubles") == []


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("HTMLCanvasElement.prototype.getContext = () => null", "shows no WebGL2 graphics"),
        ("delete window.DecompressionStream", "too old for this page"),
        ("JSON.parse = () => { throw new Error('broken') }", "The scene cannot be shown: broken"),
    ],
)
def test_what_is_missing_is_said(before: str, says: str, browser: Browser, pages: Callable[[str], Path]) -> None:
    browser("open", url=pages("static").as_uri(), width=300, height=300, before=before)
    visible = "(({hidden, textContent}) => hidden ? '' : textContent)(document.getElementById('message'))"
    wait = f"new Promise((resolve) => {{ const look = () => {visible} ? resolve({visible}) : setTimeout(look, 50); look(); }})"
    assert says in browser.js(wait)
    assert browser.js("document.getElementById('loading').hidden")


def test_worlds_are_undone(browser: Browser, tmp_path: Path) -> None:
    """The same scene in two worlds looks the same through cameras that moved with it."""
    pictures = []
    for name, world in (("plain", Similarity()), ("tilted", WORLD)):
        path = write_page(static_shell(world), tmp_path / f"{name}.html", rig(world))
        browser.open(path)
        pictures.append(look(browser, 3, 0.0))
    assert float((pictures[0] - pictures[1]).abs().mean()) < 1e-3
