"""Render one clip inside Blender. Run by Blender, never imported by the package: ``blender --python blender_driver.py -- job.json``.

This script uses Blender's Python interface, so what runs is a work under the GNU GPL version 3 or later, with which this
file's Apache-2.0 licence is compatible. The package only starts it as another program and reads the images that it writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
from mathutils import Matrix, Vector  # pyright: ignore[reportMissingImports]

FPS = 24  # Blender's frame of an animation at s seconds is 24 s, fractions included
SENSOR = 36.0
# glTF's +Y up to Blender's +Z up, and OpenCV's camera axes (right, down, forward) to Blender's (right, up, backward)
TO_BLENDER = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))
FLIP = Matrix.Diagonal((1, -1, -1, 1))


def load(path: str) -> None:
    """Import the file, and make each of its tracks the active action: the clip's animation is the only one in it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = FPS
    bpy.ops.import_scene.gltf(filepath=path, bone_heuristic="TEMPERANCE", **_options())
    for item in list(bpy.data.objects):
        if item.type in ("LIGHT", "CAMERA"):
            bpy.data.objects.remove(item)
    for owner in (*bpy.data.objects, *bpy.data.shape_keys):
        data = owner.animation_data
        strips = [strip for track in data.nla_tracks for strip in track.strips] if data else []
        if strips:
            action, slot = strips[0].action, getattr(strips[0], "action_slot", None)
            for track in list(data.nla_tracks):
                data.nla_tracks.remove(track)
            data.action = action
            if slot is not None:
                data.action_slot = slot


def _options() -> dict[str, Any]:
    """Options that only newer versions of the importer have."""
    known = bpy.ops.import_scene.gltf.get_rna_type().properties.keys()
    return {name: value for name, value in {"disable_bone_shape": True, "import_scene_as_collection": False}.items() if name in known}


def light(suns: list[dict[str, Any]], world: dict[str, Any]) -> None:
    """Add suns without shadows, and a world whose radiance goes from ``ground`` below to ``sky`` above."""
    for sun in suns:
        strength = max(sun["radiance"])
        if strength > 0:
            data = bpy.data.lights.new("sun", "SUN")
            data.energy, data.color, data.use_shadow = strength * 3.141592653589793, [c / strength for c in sun["radiance"]], False
            item = bpy.data.objects.new("sun", data)
            item.rotation_euler = (TO_BLENDER.to_3x3() @ Vector(sun["direction"])).to_track_quat("Z", "Y").to_euler()
            bpy.context.scene.collection.objects.link(item)
    bpy.context.scene.world = bpy.data.worlds.new("world")
    bpy.context.scene.world.use_nodes = True
    tree = bpy.context.scene.world.node_tree
    tree.nodes.clear()
    place, split, scale = (tree.nodes.new(f"ShaderNode{name}") for name in ("TexCoord", "SeparateXYZ", "MapRange"))
    mix, background, output = (tree.nodes.new(f"ShaderNode{name}") for name in ("MixRGB", "Background", "OutputWorld"))
    scale.inputs["From Min"].default_value = -1.0
    mix.inputs["Color1"].default_value, mix.inputs["Color2"].default_value = (*world["ground"], 1), (*world["sky"], 1)
    links = [(place, "Generated", split, "Vector"), (split, "Z", scale, "Value"), (scale, "Result", mix, "Fac")]
    for start, out, end, into in [*links, (mix, "Color", background, "Color"), (background, "Background", output, "Surface")]:
        tree.links.new(start.outputs[out], end.inputs[into])


def prepare(job: dict[str, Any]) -> Any:
    """Set up Cycles, the images and one camera; returns the camera."""
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    render.engine, cycles.device, cycles.samples = "CYCLES", "CPU", job["samples"]
    cycles.use_denoising = cycles.use_adaptive_sampling = False
    cycles.max_bounces = 1
    cycles.pixel_filter_type = "BOX"  # alpha is coverage
    render.filter_size = 1.0
    render.film_transparent, render.use_persistent_data = True, True
    render.resolution_x, render.resolution_y, render.resolution_percentage = job["width"], job["height"], 100
    render.threads_mode, render.threads = "FIXED", job["threads"]
    render.image_settings.file_format, render.image_settings.color_mode, render.image_settings.color_depth = "PNG", "RGBA", "8"
    render.image_settings.compression = 0
    scene.display_settings.display_device, scene.view_settings.view_transform = "sRGB", "Standard"
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR
    data.clip_start, data.clip_end = 0.01 / job["scale"], 1000.0 / job["scale"]
    camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def aim(camera: Any, viewmat: list[list[float]], K: list[list[float]], job: dict[str, Any]) -> None:
    """Place the camera: the object stays where its file puts it, and the clip's placement moves the camera instead."""
    pose = Matrix(viewmat).inverted()
    pose.translation = Vector(job["center"]) + pose.translation / job["scale"]
    camera.matrix_world = TO_BLENDER @ pose @ FLIP
    width, height = job["width"], job["height"]
    camera.data.lens = K[0][0] * SENSOR / width
    camera.data.shift_x, camera.data.shift_y = (width / 2 - K[0][2]) / width, (K[1][2] - height / 2) / width


def main(path: Path) -> None:
    """Render all frames and views of a job to FRAME_VIEW.png beside it."""
    job = json.loads(path.read_text())
    load(job["file"])
    light(job["suns"], job["world"])
    camera, scene = prepare(job), bpy.context.scene
    for t, seconds in enumerate(job["seconds"]):
        whole = int(seconds * FPS // 1)
        scene.frame_set(whole, subframe=seconds * FPS - whole)
        for v, K in enumerate(job["Ks"]):
            aim(camera, job["viewmats"][t][v], K, job)
            scene.render.filepath = str(path.parent / f"{t:04d}_{v:04d}.png")
            bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main(Path(sys.argv[sys.argv.index("--") + 1]))
