"""The verb that shows scenes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

import chronosplat
from chronosplat.cli.common import Common, Input, Shared, say, watched
from chronosplat.live import LiveOptions, LiveViewer


@dataclass(frozen=True)
class View:
    """Show a scene in the browser, with a timeline, input cameras, filters, exports, and another scene beside it.

    The page is served until Ctrl-C. Examples:
      chronosplat view outputs/fox/scene.safetensors
      chronosplat view outputs/fox/scene.safetensors --capture fox/
      chronosplat view best.safetensors --other fast.safetensors --port 8090
    """

    scene: Input
    """A scene file of any format that can be read, or a folder of numbered files."""
    other: str = ""
    """Another scene, shown beside the first."""
    capture: str = ""
    """The capture whose cameras and images are shown."""
    live: Annotated[LiveOptions, tyro.conf.arg(name="")] = field(default_factory=LiveOptions)
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        with watched("reading") as events:
            scenes = [chronosplat.load_scene(path, events) for path in (self.scene, self.other) if path]
            views = chronosplat.load_capture(self.capture) if self.capture else None
        viewer = LiveViewer(self.live, views)
        viewer.show(*scenes)
        say(f"open {viewer.url} in a browser; Ctrl-C ends")
        self.common.give({"url": viewer.url})
        viewer.wait()
