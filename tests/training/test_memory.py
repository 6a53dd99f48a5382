"""A device that has less memory than it said: stacks are halved, and every fit is trained all the same."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from m3h_pipeline.errors import ConfigError
from m3h_pipeline.training import export, fits
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec
from tests.training.studies import settings, spec, study

PAIRS = [
    *itertools.combinations(("anemia", "gout", "sepsis"), 2),
    *itertools.product(("anemia", "sepsis"), ("size", "stay")),
]
SPECS = [spec(*pair, fold=fold) for pair in PAIRS for fold in (0, 1)]


class Allocator:
    """Fails in the second step of any stack that is larger than it has room for."""

    def __init__(self, most: int) -> None:
        self.most, self.failed = most, list[int]()
        self.trained = list[int]()

    def train_stack(self, stack: Any, data: Any, settings: Any, keep: bool, advance: Any) -> Any:
        def trace(losses: torch.Tensor) -> None:
            if len(stack.specs) > self.most:
                self.failed.append(len(stack.specs))
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        results = export.train_stack(stack, data, settings, keep, advance, trace)
        self.trained.append(len(stack.specs))
        return results


def trained(specs: list[FitSpec], progress: io.StringIO | None = None) -> Any:
    chosen = settings(precision="float64", epochs=2)
    return run_fits(specs, study(), chosen, code="", progress=progress)


@pytest.mark.parametrize("most", [1, 3, 5])
def test_a_stack_without_room_is_halved_until_it_fits(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(SPECS)
    allocator, screen = Allocator(most), io.StringIO()
    monkeypatch.setattr(fits, "train_stack", allocator.train_stack)
    parts = trained(SPECS, screen)
    assert max(allocator.trained) <= most
    assert sum(allocator.trained) == len(SPECS)
    # Once it is known how much fits, no stack is tried in vain again.
    assert allocator.failed == sorted(set(allocator.failed), reverse=True)
    assert all(b <= (a + 1) // 2 for a, b in itertools.pairwise(allocator.failed))
    assert f"{len(SPECS)} of {len(SPECS)} fits" in screen.getvalue()
    for a, b in zip(whole, parts, strict=True):
        assert (a.key, a.spec, a.status) == (b.key, b.spec, "ok")
        np.testing.assert_allclose(list(a.values.values()), list(b.values.values()), atol=1e-9)


def test_a_fit_that_has_no_room_alone_is_an_error_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "train_stack", Allocator(0).train_stack)
    with pytest.raises(ConfigError, match=r"one fit of anemia\+gout with batches of 16") as error:
        trained(SPECS[:2])
    assert "smaller batches" in str(error.value)
