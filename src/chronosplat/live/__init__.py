"""The live viewer: a scene in the browser, served by viser."""

from chronosplat.live.server import LiveOptions, LiveViewer
