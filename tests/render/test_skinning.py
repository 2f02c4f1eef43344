"""Native linear blend skinning against ``scenes.deformable.skin``: values, gradients, threads, bad input."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from chronosplat.render.skinning import skin
from chronosplat.scenes import deformable, normalize
from chronosplat.shapes import InputError


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def arguments(count: int = 1300, nodes: int = 7, times: int = 3, joints: int = 4, turn: float = 1.0) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    weights = torch.rand(count, joints, generator=g)
    return [
        torch.randn(count, 3, generator=g), 2 * torch.randn(count, 4, generator=g),
        torch.randint(0, nodes, (count, joints), generator=g), weights / weights.sum(-1, keepdim=True),
        torch.randn(nodes, 3, generator=g), torch.randn(times, nodes, 3, generator=g), turn * torch.randn(times, nodes, 3, generator=g),
    ]  # fmt: skip


def results(function: object, given: list[Tensor]) -> list[Tensor]:
    """Means and quaternions, and the gradients of means, quats, shifts and turns."""
    given = list(given)
    leaves = []
    for k in (0, 1, 5, 6):
        given[k] = given[k].detach().clone().requires_grad_()
        leaves.append(given[k])
    out = function(*given)  # pyright: ignore[reportCallIssue]
    g = torch.Generator().manual_seed(1)
    upstream = [torch.randn(t.shape, generator=g).to(t) for t in out]
    return [*out, *torch.autograd.grad(out, leaves, upstream)]


@pytest.mark.parametrize("turn", [0.0, 1e-6, 1e-4, 1.0, 4.0])
@pytest.mark.parametrize("joints", [1, 4, 5])
def test_values_and_gradients_are_those_of_the_twin(turn: float, joints: int) -> None:
    given = arguments(turn=turn, joints=joints)
    exact = results(deformable.skin, [t if t.dtype == torch.int64 else t.double() for t in given])
    for a, b in zip([t.detach() for t in results(skin, given)], [t.detach() for t in exact], strict=True):
        assert float((a - b).norm()) <= 1e-5 * float(b.norm())
        assert float(b.norm()) > 0


def test_a_quaternion_that_cancels_becomes_the_identity() -> None:
    given = arguments(count=1, nodes=2, times=1, joints=2)
    given[2], given[3] = torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]])
    given[6] = torch.tensor([[[torch.pi, 0.0, 0.0], [-torch.pi, 0.0, 0.0]]])  # opposite halves of the double cover
    _, quats = skin(*given)
    assert bool(torch.isfinite(quats).all())


def test_lengths_of_quaternions_stay() -> None:
    given = arguments()
    torch.testing.assert_close(skin(*given)[1].norm(dim=-1), given[1].norm(dim=-1).expand(3, -1))


def test_threads_do_not_change_a_bit() -> None:
    torch.set_num_threads(1)
    alone = results(skin, arguments(5000))
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(alone, results(skin, arguments(5000)), strict=True))


def test_other_layouts_and_types() -> None:
    given = arguments()
    given[5] = given[5].transpose(0, 1).contiguous().transpose(0, 1)
    expected = deformable.skin(*given)
    for a, b in zip(skin(*given), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    double = [t if t.dtype == torch.int64 else t.double() for t in given]
    assert skin(*double)[0].dtype == torch.float64


def test_nan_stays_where_it_is() -> None:
    given = arguments()
    given[0][5, 1] = torch.nan
    means, quats = skin(*given)
    assert bool(means[:, 5].isnan().any())
    assert int(means.isnan().any(-1).sum()) == 3
    assert bool(quats.isfinite().all())


@pytest.mark.parametrize("index", [-1, 7, 2**40])
def test_nodes_that_do_not_exist_are_refused(index: int) -> None:
    given = arguments()
    given[2][3, 1] = index
    with pytest.raises(InputError, match="skin_nodes: expected values from 0 to 6"):
        skin(*given)


def test_bad_shapes_are_refused() -> None:
    given = arguments()
    with pytest.raises(InputError, match=r"quats: expected shape \[N=1300, 4\], got \[1300, 3\]"):
        skin(given[0], given[0], *given[2:])
    with pytest.raises(InputError, match=r"turns: expected shape \[T=3, K=7, 3\], got \[2, 7, 3\]"):
        skin(*given[:6], given[6][:2])
    with pytest.raises(InputError, match=r"skin_nodes: expected int64, got torch\.int32"):
        skin(*given[:2], given[2].int(), *given[3:])


def test_no_gaussians_and_no_times() -> None:
    assert skin(*arguments(count=0))[0].shape == (3, 0, 3)
    assert skin(*arguments(times=0))[1].shape == (0, 1300, 4)


def test_unit_quaternions_give_unit_quaternions() -> None:
    given = arguments()
    given[1] = normalize(given[1])
    torch.testing.assert_close(skin(*given)[1].norm(dim=-1), torch.ones(3, 1300))
