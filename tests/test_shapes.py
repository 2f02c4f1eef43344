"""The shape and value checks at the package's doors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.shapes import InputError, check_finite, check_shape
from tests.scene_kit import law


@law
@given(st.lists(st.integers(0, 5), max_size=4), st.lists(st.integers(0, 5), max_size=2))
def test_named_axes_are_bound_to_their_sizes(sizes: list[int], batch: list[int]) -> None:
    names = [f"A{i}" for i in range(len(sizes))]
    expected = dict(zip(names, sizes, strict=True))
    assert check_shape("x", torch.zeros(sizes), " ".join(names)) == expected
    assert check_shape("x", torch.zeros(batch + sizes), " ".join(["...", *names])) == expected


@law
@given(st.integers(0, 4), st.integers(0, 4))
def test_a_bound_axis_must_agree_in_the_next_tensor(first: int, second: int) -> None:
    sizes = check_shape("means", torch.zeros(first, 3), "N 3")
    if first == second:
        assert check_shape("colors", torch.zeros(second, 3), "N 3", sizes) == {"N": first}
    else:
        with pytest.raises(InputError, match=rf"^colors: expected shape \[N={first}, 3\], got \[{second}, 3\]$"):
            check_shape("colors", torch.zeros(second, 3), "N 3", sizes)


def test_an_axis_named_twice_in_one_shape_must_agree_with_itself() -> None:
    assert check_shape("square", torch.zeros(2, 2), "N N") == {"N": 2}
    with pytest.raises(InputError, match="square: expected shape"):
        check_shape("square", torch.zeros(2, 3), "N N")


@pytest.mark.parametrize(
    ("found", "shape", "message"),
    [
        ([2, 4], "N 3", "x: expected shape [N, 3], got [2, 4]"),
        ([3], "N 3", "x: expected shape [N, 3], got [3]"),
        ([1, 2, 3], "N 3", "x: expected shape [N, 3], got [1, 2, 3]"),
        ([4], "... 4 4", "x: expected shape [..., 4, 4], got [4]"),
        ([5, 4, 3], "... 4 4", "x: expected shape [..., 4, 4], got [5, 4, 3]"),
        ([], "N", "x: expected shape [N], got []"),
    ],
)
def test_message_names_tensor_expected_and_found(found: list[int], shape: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        check_shape("x", torch.zeros(found), shape)
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        check_shape("x", torch.zeros(found), shape, remedy="turn it")
    assert str(error.value) == f"{message}; turn it"


def test_a_refused_tensor_binds_nothing() -> None:
    sizes = {"N": 2}
    with pytest.raises(InputError):
        check_shape("x", torch.zeros(2, 5, 4), "N M 3", sizes)
    assert sizes == {"N": 2}


@law
@given(st.lists(st.sampled_from([1.0, -1e30, 3e38, math.nan, math.inf, -math.inf]), max_size=6))
def test_values_that_are_not_finite_are_counted(values: list[float]) -> None:
    tensor = torch.tensor(values, dtype=torch.float32)
    bad = sum(not math.isfinite(v) for v in values)
    if bad:
        with pytest.raises(InputError, match=rf"^x: {bad} of {len(values)} values are NaN or infinite$"):
            check_finite("x", tensor)
    else:
        check_finite("x", tensor)


def test_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
