"""Shards: how fast a data set is read, and what its members cost, in one run.

python benchmarks/shards.py DATA [--workers 2] [--seconds 10] [--json FILE]

DATA: a data set of clips with the groups of L4GM's rig, as ``chronosplat data render MODELS -o DATA --size 128`` makes it.

stream   samples a second, and processor time of one: 4D-LRM's draw (12 inputs and 8 targets of a pool of 36) and L4GM's (8 times of 4
         and 4 views), each with one and four draws of a clip that was read
codec    bytes an image, milliseconds to encode and decode one, and PSNR on white: lossless, lossy, PNG, and how much effort is worth
layout   milliseconds to open a clip: as it is (one member a view), and with one member an image, walked by tarfile
verify   megabytes a second
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from chronosplat.data.clipset import ClipSet
from chronosplat.data.draws import Draw, DrawL4GM, DrawLRM4D
from chronosplat.data.sample import BLOCK, parse_sample
from chronosplat.data.shards import read_clip
from chronosplat.data.store import Store
from chronosplat.data.stream import SampleStream, StreamOptions
from chronosplat.data.verify import verify

DRAWS: dict[str, Draw] = {"4D-LRM, 12 + 8": DrawLRM4D(36, 12, 8), "L4GM, 8 x (4 + 4)": DrawL4GM()}
CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {}),
    "lossless, as stored": ("WEBP", {"lossless": True, "exact": True, "quality": 20, "method": 2}),
    "lossless, quality 0 method 0": ("WEBP", {"lossless": True, "exact": True, "quality": 0, "method": 0}),
    "lossless, quality 75 method 4": ("WEBP", {"lossless": True, "exact": True, "quality": 75, "method": 4}),
    "lossy 95": ("WEBP", {"quality": 95}),
    "lossy 80": ("WEBP", {"quality": 80}),
}


def stream_rates(clips: ClipSet, workers: int, seconds: float) -> list[dict[str, Any]]:
    """Samples a second, after the workers have started."""
    found = []
    for name, draw in DRAWS.items():
        for draws in (1, 4):
            batches = iter(SampleStream(clips, draw, StreamOptions(batch=8, draws=draws, workers=workers)))
            for _ in range(2 * max(workers, 1) * draws):
                next(batches)
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                next(batches)
                count += 8
            rate = round(count / (time.perf_counter() - start), 1)
            del batches
            alone = SampleStream(clips, draw, StreamOptions(batch=8, draws=draws, seed=1))
            cost = cpu_ms(lambda alone=alone: [alone.batch(step) for step in range(8)], 64)
            found.append({"draw": name, "draws": draws, "samples a second": rate, "processor ms a sample": cost})
    return found


def cpu_ms(action: Callable[[], Any], count: int, repeat: int = 3) -> float:
    """Milliseconds of processor time for one of ``count``, the least of several runs."""
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return round(1000 * best / count, 3)


def codecs(clips: ClipSet) -> list[dict[str, Any]]:
    """Encode and decode whole images of all clips with each codec."""
    rng, images = np.random.default_rng(0), []
    for index in range(len(clips)):
        clip = clips.clip(index)
        times, views = rng.integers(clip.times, size=16).tolist(), rng.integers(clip.views, size=16).tolist()
        images += list(clip.read(times, views))
    found = []
    for name, (form, options) in CODECS.items():

        def encode(form: str = form, options: dict[str, Any] = options) -> list[bytes]:
            files = []
            for image in images:
                file = io.BytesIO()
                Image.fromarray(image).save(file, form, **options)
                files.append(file.getvalue())
            return files

        files = encode()

        def decode(files: list[bytes] = files) -> list[np.ndarray]:
            return [np.asarray(Image.open(io.BytesIO(file)).convert("RGBA")) for file in files]

        error = np.mean([((on_white(a) - on_white(b)) ** 2).mean() for a, b in zip(images, decode(), strict=True)])
        row = {"codec": name, "bytes": round(float(np.mean([len(f) for f in files]))), "encode ms": cpu_ms(encode, len(images), 1)}
        psnr = round(float(-10 * np.log10(error)), 1) if error > 0 else "exact"
        found.append({**row, "decode ms": cpu_ms(decode, len(images)), "PSNR": psnr})
    return found


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Composite bytes on white."""
    values = rgba.astype(np.float32) / 255
    return values[..., :3] * values[..., 3:] + 1 - values[..., 3:]


def layouts(clips: ClipSet) -> dict[str, Any]:
    """What opening costs, and how much larger a clip is with a member for each image."""
    place = clips.places[0]
    store, file = Store.at(clips.address), io.BytesIO()
    clip = read_clip(store, place.shard, place.entry)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for view in range(clip.views):
            first, end = clip.members[f"{view:03d}.webp"]
            size = (end - first) // clip.times
            for t in range(clip.times):
                info = tarfile.TarInfo(f"{clip.key}.{view:03d}.{t:03d}.webp")
                info.size = size
                tar.addfile(info, io.BytesIO(bytes(size)))
    split = file.getvalue()
    data = bytes(store.read(place.shard, place.entry.offset, place.entry.offset + place.entry.size))

    def walk() -> None:
        with tarfile.open(fileobj=io.BytesIO(split)) as tar:
            tar.getmembers()

    repeat = 20
    images = clip.times * clip.views
    return {
        "open ms": cpu_ms(lambda: [parse_sample(data, "") for _ in range(repeat)], repeat),
        "walk of one member an image, ms": cpu_ms(lambda: [walk() for _ in range(repeat)], repeat),
        "header bytes an image": round(BLOCK * (clip.views + 1) / images),
        "header and padding bytes of one member an image": round(
            (len(split) - sum(e - f for name, (f, e) in clip.members.items() if name.endswith("webp"))) / images
        ),
    }


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = ClipSet(options.data)
    entries = [place.entry for place in clips.places]
    images = sum(e.times * e.views for e in entries)
    found: dict[str, Any] = {"clips": len(clips), "images": images, "bytes an image": round(sum(e.size for e in entries) / images)}
    found["stream"] = stream_rates(clips, options.workers, options.seconds)
    found["codec"], found["layout"] = codecs(clips), layouts(clips)
    start = time.perf_counter()
    found["verify MB/s"] = round(verify(options.data).bytes / 1e6 / (time.perf_counter() - start), 1)
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
