"""The torch operators of the renderer: registration, compilation, memory and threads."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from chronosplat.render import RasterInputs, rasterize
from chronosplat.render.cpu import rasterize_backward_op, rasterize_op
from tests.render.raster_cases import gradients, random_inputs, random_upstream

KINDS = ("static", "moving", "covars", "antialiased")


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def inputs(kind: str, gaussians: int = 40) -> RasterInputs:
    x = random_inputs(seed=2, gaussians=gaussians, views=2, moving=kind == "moving").map(lambda t: t.float())
    if kind == "antialiased":
        return replace(x, rasterize_mode="antialiased")
    if kind != "covars":
        return x
    half = torch.randn(1, gaussians, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    return replace(x, quats=None, scales=None, covars=half @ half.transpose(-1, -2))


def arguments(x: RasterInputs, keep: bool, requires_grad: bool) -> tuple[Any, ...]:
    """The positional arguments of ``chronosplat::rasterize``."""
    leaves = [None if t is None else t.clone().requires_grad_(requires_grad) for t in (*x.gaussians(), x.viewmats)]
    options = [x.eps2d, x.near_plane, x.far_plane, x.radius_clip, x.weight_min, x.opacity_min]
    return (*leaves, x.Ks, x.times, x.width, x.height, options, x.rasterize_mode == "antialiased", keep)


def loss(x: RasterInputs) -> Tensor:
    out = rasterize(x, "cpu")
    return (out.rgb**2).sum() + out.depth.sum() + (out.alpha**3).sum()


@pytest.mark.parametrize("kind", KINDS)
def test_registration_of_the_forward_operator(kind: str) -> None:
    torch.library.opcheck(rasterize_op, arguments(inputs(kind), keep=True, requires_grad=True))
    torch.library.opcheck(rasterize_op, arguments(inputs(kind), keep=False, requires_grad=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cameras", [False, True])
def test_registration_of_the_backward_operator(kind: str, cameras: bool) -> None:
    given = arguments(inputs(kind), keep=True, requires_grad=False)
    rgb, alpha, depth, state = rasterize_op(*given)
    upstream = (torch.randn_like(rgb), torch.randn_like(alpha), torch.randn_like(depth))
    # differentiating twice is not offered, so that the operator has no autograd formula to check
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(rasterize_backward_op, (*given[:-1], cameras, rgb, alpha, depth, state, *upstream), test_utils=tests)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_as_one_graph_it_gives_the_same(kind: str) -> None:
    """fullgraph: a graph break would raise. Around the operator there is something to differentiate on both sides."""
    x = inputs(kind)
    found = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        means = x.means.clone().requires_grad_()
        value = function(replace(x, means=torch.tanh(means)))
        value.backward()
        assert means.grad is not None
        found.append((value.detach(), means.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert float(found[0][1].abs().max()) > 0


def test_compiled_by_the_default_compiler_it_gives_the_same() -> None:
    x = inputs("moving")
    means = [x.means.clone().requires_grad_() for _ in range(2)]
    loss(replace(x, means=means[0].sin())).backward()
    torch.compile(lambda m: loss(replace(x, means=m.sin())), fullgraph=True)(means[1]).backward()
    assert means[0].grad is not None
    assert means[1].grad is not None
    assert torch.allclose(means[0].grad, means[1].grad, rtol=1e-4, atol=1e-4)


def test_a_retained_graph_can_be_differentiated_again() -> None:
    x = inputs("moving")
    means = x.means.clone().requires_grad_()
    value = loss(replace(x, means=means))
    first, second = (torch.autograd.grad(value, means, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_differentiating_twice_is_refused() -> None:
    means = inputs("static").means.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(replace(inputs("static"), means=means)), means, create_graph=True)
    with pytest.raises(RuntimeError, match="rasterize_backward"):
        gradient.sum().backward()


def test_contiguous_inputs_are_not_copied() -> None:
    x = inputs("moving")
    leaves = x.map(lambda t: t.clone())
    tensors = [t.requires_grad_() for t in leaves.gaussians() if t is not None]
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t.data_ptr()), t)[1], lambda t: t):
        rasterize(leaves, "cpu")
    assert {t.data_ptr() for t in tensors} <= set(saved)


class Calls(TorchDispatchMode):
    """The operators that run, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_runs_where_nothing_is_to_be_converted(kind: str) -> None:
    """One operator forward and one backward: float32 tensors are neither copied nor converted."""
    x = inputs(kind)
    means = x.means.clone().requires_grad_()
    with Calls() as calls:
        out = rasterize(replace(x, means=means), "cpu")
    assert [name for name in calls.names if name != "aten::detach"] == ["chronosplat::rasterize"]
    upstream = [torch.randn_like(t) for t in (out.rgb, out.alpha, out.depth)]
    with Calls() as calls:
        torch.autograd.grad((out.rgb, out.alpha, out.depth), means, upstream)
    assert [name for name in calls.names if name != "aten::detach"] == ["chronosplat::rasterize_backward"]


@pytest.mark.parametrize("change", ["float64", "strided"])
def test_other_layouts_are_converted_there_and_back(change: str) -> None:
    """Leaves of another precision, or whose elements lie apart, get the same gradients in their own kind."""

    def other(t: Tensor) -> Tensor:
        return t.double() if change == "float64" else torch.stack([t, t], -1)[..., 0]

    x, found = inputs("moving"), []
    for y in (x, x.map(other)):
        leaves = y.map(lambda t: t.detach().requires_grad_())
        gradient = torch.autograd.grad(loss(leaves), [t for t in (*leaves.gaussians(), leaves.viewmats) if t is not None])
        assert {g.dtype for g in gradient} == {y.means.dtype}
        found.append(gradient)
    assert all(torch.allclose(a, b.float(), rtol=1e-4, atol=1e-5) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", ["Ks", "times"])
def test_tensors_without_a_gradient_break_no_backward_pass(name: str) -> None:
    """Ks and times may require gradients: the reference gives them, the cpu backend gives none."""
    x, found = inputs("moving"), []
    for backend in ("reference", "cpu"):
        leaf = getattr(x, name).clone().requires_grad_()
        total = rasterize(replace(x, **{name: leaf}), backend).rgb.sum()
        if total.requires_grad:
            total.backward()
        found.append(leaf.grad)
    assert found[0] is not None
    assert float(found[0].abs().max()) > 0
    assert found[1] is None


def test_saved_tensors_may_wait_on_the_host() -> None:
    x, found = inputs("moving"), []
    for context in (nullcontext(), torch.autograd.graph.save_on_cpu()):
        means = x.means.clone().requires_grad_()
        with context:
            value = loss(replace(x, means=means))
        found.append(torch.autograd.grad(value, means)[0])
    assert torch.equal(found[0], found[1])


def test_saved_tensors_may_live_elsewhere() -> None:
    """Hooks that copy what is saved, which also moves the state to another address and alignment."""

    def packed(t: Tensor) -> Tensor:
        space = torch.empty(t.numel() * t.element_size() + 24, dtype=torch.uint8)
        moved = space[8 : 8 + t.numel() * t.element_size()] if t.dtype == torch.uint8 else space[: t.numel() * t.element_size()]
        return moved.view(t.dtype).view(t.shape).copy_(t)

    x, found = inputs("moving"), []
    for pack in (lambda t: t, packed):
        means = x.means.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            value = loss(replace(x, means=means))
        found.append(torch.autograd.grad(value, means)[0])
    assert torch.equal(found[0], found[1])


def test_the_state_outlives_everything_else() -> None:
    x = inputs("static", gaussians=3000)
    means = x.means.clone().requires_grad_()
    expected = torch.autograd.grad(loss(replace(x, means=means)), means)[0]
    value = loss(replace(x, means=means))
    for _ in range(5):  # other renderings come and go in the same memory
        loss(replace(inputs("moving", gaussians=3000), colors=torch.rand(1, 3000, 3, requires_grad=True))).backward()
    gc.collect()
    assert torch.equal(torch.autograd.grad(value, means)[0], expected)


def test_without_gradients_nothing_is_kept() -> None:
    x = inputs("static")
    assert rasterize_op(*arguments(x, keep=False, requires_grad=False))[3].numel() == 0
    with torch.no_grad():
        assert not rasterize(replace(x, means=x.means.requires_grad_()), "cpu").rgb.requires_grad


@pytest.mark.usefixtures("restore_threads")
@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit_of_any_gradient(kind: str) -> None:
    x = inputs(kind, gaussians=2500)
    upstream = random_upstream(x, torch.ones(1, 2, x.height, x.width, 1, dtype=torch.bool))
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(gradients(x, upstream, "cpu")[1])
    assert "viewmats" in found[0]
    for name, value in found[0].items():
        assert all(torch.equal(value, other[name]) for other in found[1:]), name
