"""The C ABI of the optimisation kernels: arrays end at fences, and bad arguments are refused with a documented status."""

from __future__ import annotations

from ctypes import byref, c_double
from typing import Any

import numpy as np
import pytest

from chronosplat.render import native
from tests.render.native_kit import BAD_ARGUMENT, NOT_FINITE, OK, TOO_MANY, Case, Fenced, run_apart

SKIN = ("means", "quats", "skin_nodes", "skin_weights", "centers", "shifts", "turns")
F, H, W, V, HEIGHT, WIDTH = 3, 40, 50, 2, 33, 47


def fenced(*shape: int, kind: Any = np.float32, seed: int = 0) -> Fenced:
    g = np.random.default_rng(seed)
    values = g.uniform(0, 1, shape) if np.dtype(kind).kind == "f" else g.integers(0, 200, shape)
    return Fenced.holding(values.astype(kind))


class Kernels:
    """Valid arguments of every kernel in fenced memory, by name."""

    def __init__(self) -> None:
        self.arrays = {
            "which": Fenced.holding(np.array([2, 0], np.int32)), "corners": Fenced.holding(np.array([3, 7, 0, 0], np.int32)),
            "rgba": fenced(F, H, W, 4, kind=np.uint8), "weights": fenced(V, HEIGHT, WIDTH),
            "rgb": fenced(V, HEIGHT, WIDTH, 3), "alpha": fenced(V, HEIGHT, WIDTH),
            "means": fenced(301, 3), "quats": fenced(301, 4),
            "skin_nodes": Fenced.holding(np.random.default_rng(0).integers(0, 5, (301, 3))), "skin_weights": fenced(301, 3),
            "centers": fenced(5, 3), "shifts": fenced(4, 5, 3), "turns": fenced(4, 5, 3),
            "moved": fenced(4, 301, 3), "turned": fenced(4, 301, 4),
            "parameter": fenced(301, 3), "value": fenced(301, 3), "gradient": fenced(301, 3),
            "first": fenced(301, 3), "second": fenced(301, 3),
        }  # fmt: skip
        self.out = {name: fenced(*shape) for name, shape in {"a": (V, HEIGHT, WIDTH, 3), "b": (V, HEIGHT, WIDTH), "n": (301, 3)}.items()}
        self.out |= {"q": fenced(301, 4), "s": fenced(4, 5, 3), "t": fenced(4, 5, 3)}
        self.targets = native.ImageTargets(
            V, WIDTH, HEIGHT, F, W, H, 2, 2, 0.1, 0.3, self["which"], self["corners"], self["rgba"], None, None, self["weights"]
        )
        self.skin = native.SkinInputs(4, 301, 5, 3, 2, *(self[name] for name in SKIN))
        self.group = native.AdamGroup(
            301, 1, 3, 1, 0.1, -1e3, 1e3, 1.0, *(self[name] for name in ("parameter", "value", "gradient", "first", "second"))
        )

    def __getitem__(self, name: str) -> int:
        return self.arrays[name].address

    def image_loss(self) -> int:
        a, b = self.out["a"].address, self.out["b"].address
        return native.library().image_loss(byref(self.targets), self["rgb"], self["alpha"], byref(c_double()), a, b)

    def skinned(self) -> int:
        status = native.library().skin_forward(byref(self.skin), self["moved"], self["turned"])
        out = native.SkinGradients(*(self.out[name].address for name in "nqst"))
        again = native.library().skin_backward(byref(self.skin), self["moved"], self["turned"], byref(out))
        assert status == again
        return status

    def adam(self) -> int:
        return native.library().adam_step(byref(self.group), 1, 0.9, 0.99, 1e-15, 2)

    def fit(self) -> int:
        case = Case.make(views=V, width=WIDTH, height=HEIGHT)
        alive = case.gradients()
        found = {name: array.address for name, array in alive.items()}
        return native.library().splat_fit(
            byref(case.scene()), byref(self.targets), byref(c_double()), byref(native.SplatGradients(**found))
        )


FAULTS: list[tuple[str, str, str, Any, int]] = [
    *[("image_loss", "targets", name, None, BAD_ARGUMENT) for name in ("which", "corners", "rgba", "weights")],
    *[(kernel, "targets", "width", value, BAD_ARGUMENT) for value in (0, -1, 48, 51, 2**31 - 1) for kernel in ("image_loss", "fit")],
    *[("image_loss", "targets", "images", value, BAD_ARGUMENT) for value in (0, 2)],
    *[("image_loss", "targets", "weighted", value, BAD_ARGUMENT) for value in (-1, 3)],
    *[("image_loss", "targets", "l1_weight", value, BAD_ARGUMENT) for value in (-1.0, float("nan"), float("inf"))],
    ("image_loss", "targets", "views", 0, BAD_ARGUMENT),
    ("fit", "targets", "views", 1, BAD_ARGUMENT),
    *[("skinned", "skin", name, None, BAD_ARGUMENT) for name in SKIN],
    *[("skinned", "skin", name, 0, BAD_ARGUMENT) for name in ("times", "gaussians", "nodes", "joints")],
    ("skinned", "skin", "nodes", 4, BAD_ARGUMENT),
    ("skinned", "skin", "times", 2**31 - 1, TOO_MANY),
    *[("adam", "group", name, None, BAD_ARGUMENT) for name in ("parameter", "value", "gradient", "first", "second")],
    *[("adam", "group", name, -1, BAD_ARGUMENT) for name in ("rows", "steps", "columns", "activation", "spread")],
    ("adam", "group", "activation", 3, BAD_ARGUMENT),
    ("adam", "group", "low", 2e3, BAD_ARGUMENT),
    ("adam", "group", "lr", float("nan"), BAD_ARGUMENT),
    ("adam", "group", "rows", 2**40, TOO_MANY),
]  # fmt: skip


@pytest.mark.parametrize("kernel", ["image_loss", "fit", "skinned", "adam"])
def test_valid_arguments_are_accepted(kernel: str) -> None:
    assert getattr(Kernels(), kernel)() == OK


def within_fences() -> None:
    """Every thread count, with and without activation: an access beyond an array would crash."""
    for kernel in ("image_loss", "fit", "skinned", "adam"):
        for threads in (1, 3):
            kernels = Kernels()
            kernels.targets.threads = kernels.skin.threads = threads
            kernels.group.activation = threads - 1
            assert getattr(kernels, kernel)() == OK


def test_no_access_beyond_the_arrays() -> None:
    run_apart("within_fences", "test_kernels", room="native")


@pytest.mark.parametrize(("kernel", "struct", "name", "value", "status"), FAULTS)
def test_bad_arguments_are_refused(kernel: str, struct: str, name: str, value: Any, status: int) -> None:
    kernels = Kernels()
    setattr(getattr(kernels, struct), name, value)
    assert getattr(kernels, kernel)() == status


def test_a_gradient_that_is_no_number_is_refused_before_anything_changes() -> None:
    kernels = Kernels()
    kernels.arrays["gradient"].view()[-1] = np.nan
    before = {name: array.view().copy() for name, array in kernels.arrays.items()}
    assert kernels.adam() == NOT_FINITE
    assert all(np.array_equal(array.view(), before[name], equal_nan=True) for name, array in kernels.arrays.items() if name != "rgba")


def pairs(rows: list[int], others: list[list[int]], count: int = 3) -> int:
    values, out = fenced(count, 2), fenced(count, 2)
    given = [Fenced.holding(np.array(x, np.int64)) for x in (rows, others)]
    shape = np.array(others).shape
    return native.library().pair_differences(
        values.address, count, 2, given[0].address, given[1].address, *shape, byref(c_double()), out.address
    )


def test_pairs_of_rows_that_do_not_exist_are_refused() -> None:
    assert pairs([0, 2], [[1], [2]]) == OK
    for wrong in (-1, 3, 2**62):
        assert pairs([0, wrong], [[1], [2]]) == BAD_ARGUMENT
        assert pairs([0, 1], [[1], [wrong]]) == BAD_ARGUMENT
