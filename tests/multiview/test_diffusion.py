"""Multi-view diffusion: compared with a slow reference loop, and which inputs change the result."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chronosplat import InputError
from chronosplat.models import from_imagedream
from chronosplat.models.imagedream import ImageDreamUNet
from chronosplat.models.weights import read_weights
from chronosplat.multiview import Diffusion, DiffusionOptions, diffusion, fetch_diffusion
from chronosplat.multiview.diffusion import clip_pixels, resize_square, view_cameras
from chronosplat.shapes import UnavailableError
from tests.golden.kit import read_golden
from tests.multiview.kit import CLIP, FEATURES, SCHEDULER, SIDE, UNET, VIEW_SIZE, coloured_image, diffusion_folder, needs_extra

needs_extra()

IMAGE = coloured_image(32)


@pytest.fixture(scope="module")
def imagedream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_folder(tmp_path_factory.mktemp("imagedream"))


@pytest.fixture(scope="module")
def mvdream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_folder(tmp_path_factory.mktemp("mvdream"), "mvdream", "v_prediction")


def parts_of(folder: Path) -> tuple[ImageDreamUNet, Any, Any, Any]:
    """The U-Net, and the classes of the optional packages by their own loaders: autoencoder, text encoder, tokenizer."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

    unet = from_imagedream(read_weights(folder / "unet" / "diffusion_pytorch_model.safetensors")[0], UNET)
    kinds: list[Any] = [AutoencoderKL, CLIPTextModel, CLIPTokenizer]
    vae, encoder, tokenizer = (
        kind.from_pretrained(folder / part) for kind, part in zip(kinds, ("vae", "text_encoder", "tokenizer"), strict=True)
    )
    return unet, vae.eval(), encoder.eval(), tokenizer


def image_tokens(folder: Path, image: Tensor) -> Tensor:
    from transformers import CLIPVisionModel

    encoder: Any = CLIPVisionModel.from_pretrained(folder / "image_encoder")
    return encoder.eval()(clip_pixels(image, FEATURES), output_hidden_states=True).hidden_states[-2]


@torch.no_grad()
def reference_loop(folder: Path, image: Tensor | None, options: DiffusionOptions, guidance: float | None, seed: int, kind: str) -> Tensor:
    """DDIM without noise (eta 0), one branch after the other; ``guidance`` None: the conditional branch alone."""
    unet, vae, encoder, tokenizer = parts_of(folder)
    count = 4 if image is None else 5
    words = tokenizer([options.negative, options.prompt], padding="max_length", max_length=12, return_tensors="pt").input_ids
    texts = encoder(words).last_hidden_state
    tokens = latents = None
    if image is not None:
        tokens = image_tokens(folder, image)
        small = resize_square(image[None], VIEW_SIZE).movedim(-1, 1)
        latents = vae.encode(2 * small - 1).latent_dist.mean * vae.config.scaling_factor
    cameras = view_cameras(options.elevation, image is not None)
    betas = torch.linspace(math.sqrt(SCHEDULER["beta_start"]), math.sqrt(SCHEDULER["beta_end"]), 1000, dtype=torch.float64) ** 2
    kept = (1 - betas).cumprod(0)
    stride = 1000 // options.steps
    x = torch.randn(count, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))

    def predicted(x: Tensor, timestep: int, branch: int) -> Tensor:
        given = branch if image is not None else 0
        return unet(
            x,
            torch.full((count,), timestep),
            texts[branch].expand(count, -1, -1),
            cameras,
            None if tokens is None else (given * tokens).expand(count, -1, -1),
            None if latents is None else given * latents,
            count,
        )

    for i in reversed(range(options.steps)):
        timestep = i * stride + 1
        out = predicted(x, timestep, 1)
        if guidance is not None:
            without = predicted(x, timestep, 0)
            out = without + guidance * (out - without)
        now, then = float(kept[timestep]), float(kept[max(timestep - stride, 0)])
        signal, noise = math.sqrt(now), math.sqrt(1 - now)
        clean = (x - noise * out) / signal if kind == "epsilon" else signal * x - noise * out
        rest = out if kind == "epsilon" else signal * out + noise * x
        x = math.sqrt(then) * clean + math.sqrt(1 - then) * rest
    pictures = vae.decode(x[:4] / vae.config.scaling_factor).sample
    return (pictures.movedim(1, -1) / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("steps", [1, 3])
def test_views_equal_the_reference_loop(imagedream: Path, steps: int) -> None:
    options = DiffusionOptions("a red cat", "a dog", steps, elevation=12.0)
    found = Diffusion(imagedream).generate(IMAGE, options, seed=4)
    assert found.shape == (4, VIEW_SIZE, VIEW_SIZE, 3)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert float(found.std()) > 0.02
    expected = reference_loop(imagedream, IMAGE, options, 5.0, 4, "epsilon")  # ImageDream's guidance
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("guidance", "meant"), [(None, 7.5), (3.0, 3.0)])
def test_views_of_a_text_equal_the_reference_loop(mvdream: Path, guidance: float | None, meant: float) -> None:
    options = DiffusionOptions("a red cat", "a dog", 3, guidance)
    found = Diffusion(mvdream).generate(None, options, seed=1)
    assert found.shape == (4, VIEW_SIZE, VIEW_SIZE, 3)
    torch.testing.assert_close(found, reference_loop(mvdream, None, options, meant, 1, "v_prediction"), atol=2e-5, rtol=0)


def test_guidance_of_one_is_the_conditional_branch(imagedream: Path) -> None:
    options = DiffusionOptions("a red cat", "a dog", 2, guidance=1.0)
    found = Diffusion(imagedream).generate(IMAGE, options)
    torch.testing.assert_close(found, reference_loop(imagedream, IMAGE, options, None, 0, "epsilon"), atol=2e-5, rtol=0)


def test_an_image_model_generates_from_text_alone(imagedream: Path) -> None:
    options = DiffusionOptions("a red cat", steps=3)
    found = Diffusion(imagedream).generate(None, options)
    assert found.shape == (4, VIEW_SIZE, VIEW_SIZE, 3)
    torch.testing.assert_close(found, reference_loop(imagedream, None, options, 7.5, 0, "epsilon"), atol=2e-5, rtol=0)


def test_which_inputs_change_the_views(imagedream: Path) -> None:
    model, options = Diffusion(imagedream), DiffusionOptions("a red cat", steps=2)
    reference = model.generate(IMAGE, options)
    assert torch.equal(model.generate(IMAGE, options, seed=0), reference)
    others: dict[str, Tensor] = {
        "seed": model.generate(IMAGE, options, seed=1),
        "prompt": model.generate(IMAGE, DiffusionOptions("a blue dog", steps=2)),
        "image": model.generate(coloured_image(32, seed=9), options),
        "elevation": model.generate(IMAGE, DiffusionOptions("a red cat", steps=2, elevation=30.0)),
    }
    for what, other in others.items():
        assert float((other - reference).abs().max()) > 1e-2, what


def test_every_step_is_reported_and_long_texts_are_truncated(mvdream: Path) -> None:
    reported: list[tuple[int, int]] = []
    Diffusion(mvdream).generate(
        None,
        DiffusionOptions("a very long text about a cat and a dog", steps=3),
        on_step=lambda done, steps: reported.append((done, steps)),
    )
    assert reported == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("name", ["imagedream_unet_tiny", "imagedream_unet_embeddings"])
@pytest.mark.parametrize("which", [0, 1])
def test_cameras_are_those_of_the_released_code(name: str, which: int) -> None:
    """At elevations 0, 15, -20 and 30; images 1, 2, 3, 0 of the released code are our front, right, back and left."""
    golden = read_golden(name)
    elevation = float(json.loads(golden.metadata["elevations"])[which])
    cameras = golden.tensors["input.camera"][5 * which : 5 * which + 5]
    found = view_cameras(elevation, True)
    torch.testing.assert_close(found[:4], cameras[[1, 2, 3, 0]], atol=1e-6, rtol=0)
    assert torch.equal(found[4], cameras[4])
    assert torch.equal(found[4], torch.zeros(16))


@pytest.mark.parametrize("elevation", [-35.0, 0.0, 20.0, 80.0])
@pytest.mark.parametrize("with_image", [False, True])
def test_cameras_surround_the_object_and_look_at_it(elevation: float, with_image: bool) -> None:
    found = view_cameras(elevation, with_image)
    assert found.shape == (5 if with_image else 4, 16)
    poses = found[:4].view(4, 4, 4)
    places = poses[:, :3, 3]
    torch.testing.assert_close(places.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(places[:, 2], torch.full((4,), math.sin(math.radians(elevation))))  # up is +Z
    torch.testing.assert_close(poses[:, :3, 2], places)  # backwards is away from the object
    assert bool((poses[:, 2, 1] > 0).all())  # image up is up
    around = torch.atan2(places[:, 1], places[:, 0]).rad2deg()
    torch.testing.assert_close((around - around[0]) % 360, torch.tensor([0.0, 90.0, 180.0, 270.0]), atol=1e-3, rtol=0)


def test_pixels_for_the_image_encoder_by_hand() -> None:
    mean, std = torch.tensor(FEATURES["image_mean"]), torch.tensor(FEATURES["image_std"])
    image = coloured_image(CLIP) * 1.5 - 0.2  # values outside [0, 1] are clamped
    expected = ((image.clamp(0, 1) * 255).floor() / 255 - mean) / std
    torch.testing.assert_close(clip_pixels(image, FEATURES), expected.movedim(-1, 0)[None])
    middle = clip_pixels(image, {**FEATURES, "crop_size": 8, "size": CLIP})  # the older format of sizes
    torch.testing.assert_close(middle, expected[4:12, 4:12].movedim(-1, 0)[None])


@pytest.mark.parametrize(("height", "width"), [(32, 32), (12, 12), (57, 57), (40, 30), (48, 31)])
@pytest.mark.parametrize("crop", [CLIP, 10])
def test_pixels_for_the_image_encoder_are_those_of_its_own_processor(height: int, width: int, crop: int) -> None:
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip", reason="this transformers needs torchvision for it")
    options = {**FEATURES, "crop_size": {"height": crop, "width": crop}}
    image = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0))
    pixels = (image * 255).byte().numpy()
    expected = module.CLIPImageProcessorPil(**options)(pixels, return_tensors="pt").pixel_values
    torch.testing.assert_close(clip_pixels(image, options), expected, atol=1e-5, rtol=0)


def test_images_are_resized_without_aliasing() -> None:
    stripes = torch.zeros(2, 16, 16, 3)
    stripes[:, ::2] = 1
    small = resize_square(stripes, 4)
    assert small.shape == (2, 4, 4, 3)
    assert float((small - 0.5).abs().max()) < 0.05
    assert resize_square(stripes, 16) is stripes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"guidance": 0.5}, "guidance: expected 1 or more, got 0.5"),
        ({"guidance": math.nan}, "guidance: expected 1 or more, got nan"),
        ({"guidance": math.inf}, "guidance: expected .*got inf"),
        ({"elevation": 90.0}, "elevation: expected degrees between -90 and 90, got 90"),
        ({"elevation": math.nan}, "elevation: expected degrees between -90 and 90, got nan"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DiffusionOptions(**options)


@pytest.mark.parametrize("steps", [1000, 1001])
def test_more_steps_than_the_model_knows_are_refused(mvdream: Path, steps: int) -> None:
    """With an offset of one the last of 1000 timesteps would lie beyond the schedule's end."""
    with pytest.raises(InputError, match=f"steps: .*{steps}"):
        Diffusion(mvdream).generate(None, DiffusionOptions("a cat", steps=steps))


@pytest.fixture
def damaged(imagedream: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(imagedream, tmp_path / "model")


def refused(folder: Path, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Diffusion(folder).generate(IMAGE, DiffusionOptions("a cat", steps=1))


@pytest.mark.parametrize("part", diffusion.PARTS)
def test_missing_parts_are_named(damaged: Path, part: str) -> None:
    shutil.rmtree(damaged / part)
    refused(damaged, rf"model: not a multi-view diffusion model \(no {part} in it\)")


def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        refused(folder, r"\(no unet, vae, text_encoder, tokenizer, scheduler in it\)")


def test_text_models_refuse_images(mvdream: Path, imagedream: Path, tmp_path: Path) -> None:
    refused(mvdream, r"accepts text only \(no image_encoder in it\); use ImageDream for images")
    both = shutil.copytree(mvdream, tmp_path / "both")
    for part in ("image_encoder", "feature_extractor"):
        shutil.copytree(imagedream / part, both / part)
    refused(both, "both: accepts text only; use ImageDream for images")


@pytest.mark.parametrize("part", list(diffusion.WEIGHTS))
def test_pickled_weights_are_not_loaded(damaged: Path, part: str) -> None:
    weights = damaged / part / f"{diffusion.WEIGHTS[part]}.safetensors"
    names = {"diffusion_pytorch_model": "diffusion_pytorch_model.bin", "model": "pytorch_model.bin"}
    weights.rename(weights.with_name(names[diffusion.WEIGHTS[part]]))
    refused(damaged, rf"model/{part}.*{weights.name}|model/{part}/{weights.name}")


@pytest.mark.parametrize("part", list(diffusion.WEIGHTS))
@pytest.mark.parametrize("damage", ["cut short", "lacking"])
def test_damaged_weights_are_refused(damaged: Path, part: str, damage: str) -> None:
    """Those that lack a tensor too: it would be filled with random numbers."""
    weights = damaged / part / f"{diffusion.WEIGHTS[part]}.safetensors"
    if damage == "cut short":
        weights.write_bytes(weights.read_bytes()[:-99])
    else:
        tensors = load_file(weights)
        del tensors[sorted(tensors)[-1]]
        save_file(tensors, weights, {"format": "pt"})
    refused(damaged, f"model/{part}" if part != "unet" or damage == "cut short" else "another architecture")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"{part}/config.json", '{"a": ') for part in ("unet", "vae", "text_encoder")),
        *((f"tokenizer/{name}.json", '{"a": ') for name in ("vocab", "tokenizer_config")),
        ("scheduler/scheduler_config.json", '{"a": '),
        ("scheduler/scheduler_config.json", "[]"),
        ("feature_extractor/preprocessor_config.json", '{"a": '),
        ("feature_extractor/preprocessor_config.json", "{}"),
        ("vae/config.json", "{}"),
        ("text_encoder/config.json", "[]"),
    ],
)
def test_broken_settings_are_refused(damaged: Path, name: str, content: str) -> None:
    (damaged / name).write_text(content)
    refused(damaged, f"model/{name.split('/')[0]}")


def test_a_tokenizer_that_does_not_say_its_length_takes_the_encoders(damaged: Path) -> None:
    options = DiffusionOptions("a cat", steps=1)
    reference = Diffusion(damaged).generate(None, options)
    (damaged / "tokenizer" / "tokenizer_config.json").unlink()
    assert torch.equal(Diffusion(damaged).generate(None, options), reference)


def test_weights_under_the_names_of_older_releases_are_the_same(damaged: Path) -> None:
    options = DiffusionOptions("a cat", steps=1)
    reference = Diffusion(damaged).generate(IMAGE, options)
    for part, prefix in (("text_encoder", "text_model."), ("image_encoder", "vision_model.")):
        weights = damaged / part / "model.safetensors"
        tensors = {prefix + name.removeprefix(prefix): t for name, t in load_file(weights).items()}
        save_file(tensors, weights, {"format": "pt"})
    assert torch.equal(Diffusion(damaged).generate(IMAGE, options), reference)


@pytest.mark.parametrize(("package", "other"), [("diffusers", "transformers"), ("transformers", "diffusers")])
def test_a_missing_extra_is_named(imagedream: Path, monkeypatch: pytest.MonkeyPatch, package: str, other: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnavailableError, match=r"multiview: .*pip install 'chronosplat\[multiview\]', or give views") as raised:
        Diffusion(imagedream)
    assert package in str(raised.value)
    assert other not in str(raised.value)


@pytest.mark.parametrize("kind", ["imagedream", "mvdream"])
def test_the_released_folders_hold_what_is_needed(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    asked: list[Any] = []

    def fetched(repo: str, patterns: list[str], *rest: object) -> Path:
        asked.extend([repo, patterns, *rest])
        return Path("somewhere")

    monkeypatch.setattr(diffusion, "fetch_folder", fetched)
    assert fetch_diffusion(kind) == Path("somewhere")
    assert asked[0] == diffusion.REPOS[kind]
    assert {"unet/*.safetensors", "vae/*.json", "tokenizer/*.txt", "scheduler/*.json"} <= set(asked[1])
    assert ("image_encoder/*.safetensors" in asked[1]) == (kind == "imagedream")
    assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in asked[1])
    assert "Open RAIL-M" in asked[-1]
