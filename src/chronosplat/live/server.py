"""``chronosplat view``: a scene in the browser, served by viser, with a timeline, input cameras, filters and exports.

The server shows the scene's own world (+Y up). A running reconstruction hands over better scenes with :meth:`LiveViewer.show`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity
from chronosplat.captures import Views
from chronosplat.captures.normalize import distinct
from chronosplat.edit import edit
from chronosplat.events import Events
from chronosplat.export import export, formats
from chronosplat.live.filtered import Filter, bounds, splats_at
from chronosplat.scenes import Scene, matrices_to_quats
from chronosplat.shapes import InputError, UnavailableError

STEPS = 24  # of a timeline whose scene is continuous in time
FRUSTA = 48  # cameras that are shown at most
THUMBNAIL = 96  # pixels
GAP = 1.15  # between scenes side by side, in widths


@dataclass(frozen=True)
class LiveOptions:
    """Where the viewer listens."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 shows the scene to the whole network."""
    port: int = 8080
    """Port to listen on."""


class LiveViewer:
    """A viser server that shows one scene, and another beside it.

    Args:
        options: where to listen.
        views: input views, shown as frusta and beside the rendering.
        folder: where the export and save buttons write.

    Raises:
        InputError: the port is in use.
        UnavailableError: viser is not installed.
    """

    def __init__(self, options: LiveOptions | None = None, views: Views | None = None, folder: Path | None = None) -> None:
        options = options or LiveOptions()
        try:
            import viser
        except ImportError as error:
            raise UnavailableError("the live viewer needs viser; pip install 'chronosplat[view]'") from error
        check_port(options)
        self.options, self.views, self.folder = options, views, folder or Path()
        self.scenes: list[Scene] = []
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._nodes: list[Any] = []
        self._frames: list[float] = [0.0]
        self.server = viser.ViserServer(host=options.host, port=options.port, label="chronosplat", verbose=False)
        self.server.scene.set_up_direction("+y")
        self._build_gui()
        self._clock = threading.Thread(target=self._play, daemon=True)
        self._clock.start()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{'localhost' if self.options.host in ('127.0.0.1', '0.0.0.0') else self.options.host}:{self.options.port}"

    def show(self, scene: Scene, other: Scene | None = None) -> None:
        """Show a scene, in place of the one before.

        Args:
            other: a scene to show beside it.
        """
        with self._lock:
            first = not self.scenes
            self.scenes = [scene] if other is None else [scene, other]
            times = scene.timestamps(STEPS) or [0.0]
            if times != self._frames or first:
                self._frames = times
                self.timeline.max = max(1, len(times) - 1)
                self.timeline.disabled = len(times) == 1
            if first:
                self._set_scale(scene)
        self._draw()

    def stop(self) -> None:
        """End the server."""
        self._stopped.set()
        self.server.stop()

    def wait(self) -> None:
        """Serve until Ctrl-C."""
        with suppress(KeyboardInterrupt):
            while not self._stopped.wait(0.5):
                pass
        self.stop()

    def _build_gui(self) -> None:
        gui = self.server.gui
        gui.configure_theme(dark_mode=True, show_share_button=False)
        self.stats = gui.add_markdown("waiting for a scene")
        with gui.add_folder("Time"):
            self.timeline = gui.add_slider("Frame", 0, 1, 1, 0)
            self.playing = gui.add_checkbox("Play", False)
            self.speed = gui.add_slider("Speed", 0.1, 2.0, 0.1, 1.0)
        with gui.add_folder("Splats"):
            self.opacity = gui.add_slider("Opacity at least", 0.0, 0.9, 0.005, 0.005, hint="fainter splats are hidden")
            self.scale = gui.add_slider("Scale", 0.1, 2.0, 0.05, 1.0)
        with gui.add_folder("Crop", expand_by_default=False):
            self.crop = [gui.add_multi_slider(axis, 0.0, 1.0, 0.005, (0.0, 1.0)) for axis in "xyz"]
        if self.views is not None:
            with gui.add_folder("Input"):
                self.frusta_shown = gui.add_checkbox("Cameras", True)
                self.camera = gui.add_slider("View", 0, max(1, len(self.views) - 1), 1, 0)
                self.through = gui.add_button("Look through this camera")
                self.image = gui.add_image(self._image(0), label="input view")
            self.frusta_shown.on_update(by_client(self._show_frusta))
            self.camera.on_update(by_client(self._select_view))
            self.through.on_click(lambda event: self._look_through(event.client))
        with gui.add_folder("Export", expand_by_default=False):
            self.name = gui.add_text("File", "scene.ply", hint="its suffix names the format: " + " ".join(formats()))
            self.export_button = gui.add_button("Export")
            self.save_button = gui.add_button("Save what is shown", hint="crop and opacity threshold become edits of a new scene file")
        for control in (self.timeline, self.opacity, self.scale, *self.crop):
            control.on_update(by_client(self._draw))
        self.export_button.on_click(lambda event: self._write(event.client, self._export))
        self.save_button.on_click(lambda event: self._write(event.client, self._save))

    def _set_scale(self, scene: Scene) -> None:
        """Fit the crop sliders, the frusta and the camera to the first scene."""
        low, high = bounds(scene, self._frames)
        size = float((high - low).max())
        self._width = GAP * size
        crop = _box_in(scene.world, low, high)
        with self.server.atomic():
            for slider, first, last in zip(self.crop, *(corner.tolist() for corner in crop), strict=True):
                slider.min, slider.max, slider.step = first, last, (last - first) / 200
                slider.value = (first, last)
        middle = (low + high).numpy() / 2
        self.server.initial_camera.look_at, self.server.initial_camera.position = middle, middle + size * np.array([0.0, 0.4, 2.2])
        for client in self.server.get_clients().values():
            client.camera.position, client.camera.look_at = self.server.initial_camera.position, middle
        if self.views is not None:
            self._add_frusta(scene, 0.12 * size)

    @property
    def filter(self) -> Filter:
        """What the controls hide."""
        low, high = zip(*(slider.value for slider in self.crop), strict=True)
        cropped = any(slider.value != (slider.min, slider.max) for slider in self.crop)
        return Filter(self.opacity.value, self.scale.value, (low, high) if cropped else None)

    def _draw(self) -> None:
        """Send the Gaussians of the current time."""
        with self._lock:
            if not self.scenes:
                return
            seconds = self._frames[min(int(self.timeline.value), len(self._frames) - 1)]
            shown = [splats_at(scene, seconds, self.filter) for scene in self.scenes]
            while len(self._nodes) > len(shown):
                self._nodes.pop().remove()
            for index, splats in enumerate(shown):
                if index < len(self._nodes):
                    self._nodes[index].set_gaussians(*splats)
                else:
                    position = (index * self._width, 0.0, 0.0)
                    self._nodes.append(self.server.scene.add_gaussian_splats(f"/scene{index}", *splats, position=position))
            counts = " and ".join(
                f"{len(splats[0]):,} of {scene.num_gaussians:,}" for splats, scene in zip(shown, self.scenes, strict=True)
            )
            self.stats.content = f"{counts} Gaussians, {seconds:.3f} s"

    def _play(self) -> None:
        """Advance the timeline while it plays."""
        while not self._stopped.is_set():
            frames = self._frames
            if not self.playing.value or len(frames) < 2:
                self._stopped.wait(0.1)
                continue
            started = time.perf_counter()
            self.timeline.value = (int(self.timeline.value) + 1) % len(frames)
            self._draw()
            rate = (frames[-1] - frames[0]) / (len(frames) - 1) / max(self.speed.value, 0.1)
            self._stopped.wait(max(0.005, rate - (time.perf_counter() - started)))

    def _image(self, index: int) -> Any:
        assert self.views is not None
        return (self.views[[index]].on_white()[0].clamp(0, 1) * 255 + 0.5).byte().numpy()

    def _select_view(self) -> None:
        """Show an input view, and the scene at its time."""
        assert self.views is not None
        index = min(int(self.camera.value), len(self.views) - 1)
        self.image.image = self._image(index)
        seconds = float(self.views.times[index])
        self.timeline.value = min(range(len(self._frames)), key=lambda frame: abs(self._frames[frame] - seconds))
        self._draw()

    def _add_frusta(self, scene: Scene, size: float) -> None:
        assert self.views is not None
        cameras = distinct(self.views.cameras)
        which = [int((self.views.cameras.viewmats - mat).abs().amax((1, 2)).argmin()) for mat in cameras.viewmats[:FRUSTA]]
        self._cameras = self.views.cameras.transformed(scene.world.inverse())
        step = max(1, max(self._cameras.width, self._cameras.height) // THUMBNAIL)
        self._frusta = []
        for index in which:
            wxyz, position, fov = _pose(self._cameras, index)
            frustum = self.server.scene.add_camera_frustum(
                f"/cameras/{index}",
                fov,
                self._cameras.width / self._cameras.height,
                scale=size,
                thickness=1.5,
                thickness_units="screen",
                color=(120, 120, 120),
                image=self._image(index)[::step, ::step],
                wxyz=wxyz,
                position=position,
            )
            frustum.on_click(lambda event, index=index: self._look_through(event.client, index))
            self._frusta.append(frustum)

    def _show_frusta(self) -> None:
        for frustum in self._frusta:
            frustum.visible = self.frusta_shown.value

    def _look_through(self, client: Any, index: int | None = None) -> None:
        """Move a client's camera into an input camera."""
        if index is not None:
            self.camera.value = index
        index = min(int(self.camera.value), len(self._cameras) - 1)
        client.camera.wxyz, client.camera.position, client.camera.fov = _pose(self._cameras, index)
        self._select_view()

    def _write(self, client: Any, write: Callable[[Path], Path]) -> None:
        """Write a file, and tell the client where it is, or what is wrong."""
        try:
            path = write(self.folder / Path(self.name.value).name)
        except (InputError, UnavailableError, OSError) as error:
            client.add_notification("Not written", str(error), color="red", auto_close_seconds=15)
        else:
            client.add_notification("Written", str(path.resolve()), auto_close_seconds=10)

    def _export(self, path: Path) -> Path:
        return export(self.scenes[0], path, events=Events())

    def _save(self, path: Path) -> Path:
        return export(edit(self.scenes[0], self.filter.edits()), path.with_suffix(".safetensors"))


def by_client(react: Callable[[], None]) -> Callable[[Any], None]:
    """A callback for changes that a client makes; viser also calls it for those of the program."""

    def update(event: Any) -> None:
        if event.client is not None:
            react()

    return update


def check_port(options: LiveOptions) -> None:
    """Refuse a port that is in use or not allowed.

    Raises:
        InputError: with a port that is free.
    """
    with socket.socket() as probe:
        try:
            if not 0 < options.port < 65536:
                raise OSError
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((options.host, options.port))
        except OSError:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                other = free.getsockname()[1]
            raise InputError(f"port: {options.port} on {options.host} is in use or not allowed", "choose {port}", port=other) from None


def _box_in(world: Similarity, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The corners [3] of the box around another box, in another world."""
    corners = world.points(torch.cartesian_prod(*torch.stack([low, high], 1)))
    return corners.amin(0), corners.amax(0)


def _pose(cameras: Cameras, index: int) -> tuple[Any, Any, float]:
    """A camera as viser takes it: quaternion wxyz of camera to world (OpenCV axes), position, vertical field of view in radians."""
    turn = matrices_to_quats(cameras.viewmats[index, :3, :3].T.double())
    fov = 2 * float(torch.atan(cameras.height / (2 * cameras.Ks[index, 1, 1].double())))
    return np.asarray(turn), np.asarray(cameras.centers[index].double()), fov
