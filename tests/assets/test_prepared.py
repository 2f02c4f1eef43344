"""Mip chains: exact averages in linear light."""

from __future__ import annotations

import numpy as np
import pytest

from chronosplat.assets.mesh import Texture
from chronosplat.assets.prepared import decode, encode, halved, mip_chain


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (4, 1), (7, 5), (1, 13), (31, 6)])
def test_halving_keeps_the_mean(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).uniform(0, 1, (*shape, 3)).astype(np.float32)
    half = halved(image)
    assert half.shape[:2] == tuple(max(n // 2, 1) for n in shape)
    np.testing.assert_allclose(half.mean((0, 1)), image.mean((0, 1)), atol=1e-6)


def test_halving_an_odd_size_weighs_by_area() -> None:
    image = np.array([1, 0, 0, 0, 0], np.float32).reshape(5, 1, 1)
    np.testing.assert_allclose(halved(image).ravel(), (0.4, 0))
    image = np.array([0, 0, 1, 0, 0], np.float32).reshape(5, 1, 1)
    np.testing.assert_allclose(halved(image).ravel(), (0.2, 0.2))


@pytest.mark.parametrize("srgb", [True, False])
def test_levels_go_down_to_one_texel_of_the_mean(srgb: bool) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 20, 4)).astype(np.uint8)
    levels = mip_chain(Texture(pixels, srgb))
    assert [level.shape[:2] for level in levels] == [(12, 20), (6, 10), (3, 5), (1, 2), (1, 1)]
    assert levels[0] is pixels
    mean = np.array([*decode(srgb)[pixels[..., :3]].mean((0, 1)), pixels[..., 3].mean() / 255])
    assert np.array_equal(levels[-1][0, 0, :3], encode(mean[:3], srgb))
    assert levels[-1][0, 0, 3] == pytest.approx(255 * mean[3], abs=0.51)


def test_invisible_texels_do_not_tint_where_alpha_counts() -> None:
    pixels = np.array([[(200, 0, 0, 255), (0, 200, 0, 0)]], np.uint8)
    assert mip_chain(Texture(pixels), weighted=True)[1][0, 0].tolist() == [200, 0, 0, 128]
    assert mip_chain(Texture(pixels))[1][0, 0, 1] > 100
    clear = np.array([[(200, 0, 0, 0), (0, 200, 0, 0)]], np.uint8)
    assert np.array_equal(mip_chain(Texture(clear), weighted=True)[1], mip_chain(Texture(clear))[1])


def test_encoding_is_the_inverse_of_decoding() -> None:
    for srgb in (True, False):
        assert np.array_equal(encode(decode(srgb), srgb), np.arange(256))
