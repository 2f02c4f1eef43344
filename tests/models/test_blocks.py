"""Transformer blocks: patches and back, no order among tokens, no bias."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from chronosplat.models.lrm4d.blocks import Block, SelfAttention, patchify, unpatchify


@pytest.mark.parametrize(("patch", "height", "width"), [(8, 16, 24), (2, 4, 10), (1, 3, 5)])
def test_unpatchify_inverts_patchify(patch: int, height: int, width: int) -> None:
    maps = torch.randn(2, 3, height, width, 5, generator=torch.Generator().manual_seed(0))
    tokens = patchify(maps, patch)
    assert tokens.shape == (2, 3 * (height // patch) * (width // patch), patch * patch * 5)
    assert torch.equal(unpatchify(tokens, patch, 3, height, width), maps)


def test_patches_run_view_major_then_row_major() -> None:
    maps = torch.arange(2 * 4 * 6).view(1, 2, 4, 6, 1)
    tokens = patchify(maps, 2)
    assert tokens[0, 0].tolist() == [0, 1, 6, 7]
    assert tokens[0, 1].tolist() == [2, 3, 8, 9]
    assert tokens[0, 3].tolist() == [12, 13, 18, 19]
    assert tokens[0, 6].tolist() == [24, 25, 30, 31]


@pytest.mark.parametrize("qk_norm", [False, True])
def test_blocks_are_equivariant_under_permutation_of_tokens(qk_norm: bool) -> None:
    torch.manual_seed(0)
    block, x = Block(32, 4, 2, qk_norm), torch.randn(2, 11, 32)
    order = torch.randperm(11)
    assert torch.allclose(block(x)[:, order], block(x[:, order]), atol=1e-5)
    assert not torch.allclose(block(x), block(x[:, order]), atol=1e-2)


def test_attention_is_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(8, 2, qk_norm=False), torch.randn(1, 5, 8)
    q, k, v = (t.view(5, 2, 4).transpose(0, 1) for t in (x[0] @ attention.qkv.weight.T).split(8, -1))
    mixed = torch.softmax(q @ k.transpose(1, 2) / 2, -1) @ v
    expected = mixed.transpose(0, 1).reshape(5, 8) @ attention.out.weight.T
    assert torch.allclose(attention(x)[0], expected, atol=1e-6)


def test_with_qk_norm_queries_and_keys_are_normalised_each_by_its_own_gains() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(8, 2, qk_norm=True), torch.randn(1, 5, 8)
    gains = torch.rand(2, 4) + 0.5
    for norm, gain in zip((attention.q_norm, attention.k_norm), gains, strict=True):
        norm.load_state_dict({"weight": gain})
    q, k, v = (t.view(5, 2, 4).transpose(0, 1) for t in (x[0] @ attention.qkv.weight.T).split(8, -1))
    q, k = (
        (t - t.mean(-1, keepdim=True)) / (t.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * g
        for t, g in zip((q, k), gains, strict=True)
    )
    mixed = torch.softmax(q @ k.transpose(1, 2) / 2, -1) @ v
    expected = mixed.transpose(0, 1).reshape(5, 8) @ attention.out.weight.T
    assert torch.allclose(attention(x)[0], expected, atol=1e-6)


def test_a_block_adds_attention_and_then_a_gelu_network_to_its_stream() -> None:
    torch.manual_seed(0)
    block, x = Block(32, 4, 2, False), torch.randn(2, 11, 32)
    wide, _, narrow = block.mlp
    x1 = x + block.attention(F.layer_norm(x, (32,)))
    hidden = F.layer_norm(x1, (32,)) @ wide.weight.T
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(block(x), x1 + hidden @ narrow.weight.T, rtol=0, atol=1e-5)


def test_samples_of_a_batch_do_not_mix() -> None:
    torch.manual_seed(0)
    block, x = Block(32, 4, 2, True), torch.randn(3, 7, 32)
    changed = x.clone()
    changed[1] += 1
    assert torch.equal(block(x)[[0, 2]], block(changed)[[0, 2]])


def test_no_bias() -> None:
    names = [name for name, _ in Block(32, 4, 4, True).named_parameters()]
    assert names
    assert not [name for name in names if "bias" in name]
