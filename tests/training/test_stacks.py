"""Grouping fits into stacks, and their keyed minibatches."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from m3h_pipeline.config import Model
from m3h_pipeline.training.seeds import dropout_key, minibatches, n_steps, task_key
from m3h_pipeline.training.spec import FitSpec
from m3h_pipeline.training.stacks import make_stacks, positions_of
from tests.training.studies import TASKS, settings, spec, study

CPU = torch.device("cpu")
DATA = study()


@st.composite
def specifications(draw: st.DrawFn) -> list[FitSpec]:
    combinations = st.sets(st.sampled_from(sorted(TASKS)), min_size=1, max_size=4)
    fits = st.builds(
        lambda tasks, fold, replicate, batch, rate: spec(
            *tasks, fold=fold, replicate=replicate, batch=batch, rate=rate
        ),
        combinations,
        st.integers(-1, 2),
        st.integers(0, 2),
        st.sampled_from([8, 16]),
        st.sampled_from([1e-3, 1e-2]),
    )
    return draw(st.lists(fits, min_size=1, max_size=40, unique=True))


@effort(max_examples=20, deadline=None)
@given(specs=specifications(), most=st.sampled_from([1, 3, None]), limit=st.sampled_from([1.0, 1e9]))
def test_every_fit_is_in_one_stack_of_its_kind(specs: list[FitSpec], most: int | None, limit: float) -> None:
    stacks = make_stacks(specs, DATA, settings(stack=most), limit, CPU)
    assert sorted(s for stack in stacks for s in stack.specs) == sorted(specs)
    for stack in stacks:
        assert len(stack.specs) == len(stack.groups) * stack.per_group
        assert len(stack.specs) <= (most or 10**6)
        if limit == 1.0:
            assert len(stack.specs) == 1
        rates = [s.learning_rate for s in stack.specs]
        assert rates == sorted(rates)
        steps = {n_steps(len(DATA.training_rows(s.fold)), s.batch_size) for s in stack.specs}
        assert len(steps) == 1
        for i, fit in enumerate(stack.specs):
            group = stack.groups[i // stack.per_group]
            assert (group.fold, group.replicate, group.learning_rate) == (
                fit.fold,
                fit.replicate,
                fit.learning_rate,
            )
            assert fit.batch_size == stack.batch_size
            positions, signature = positions_of(fit.combination, DATA, Model())
            assert stack.positions[i] == positions
            assert stack.signature == signature
            assert sorted(positions) == sorted(fit.combination)


def test_a_full_grid_becomes_few_stacks() -> None:
    pairs = [("anemia", "stay"), ("sepsis", "stay"), ("gout", "size"), ("anemia", "organ")]
    grid = itertools.product(pairs, (0, 1, 2), (0, 1), (1e-3, 1e-2))
    specs = [spec(*pair, fold=f, replicate=r, rate=rate) for pair, f, r, rate in grid]
    stacks = make_stacks(specs, DATA, settings(), 1e12, CPU)
    sizes = sorted((len(stack.groups), stack.per_group) for stack in stacks)
    assert sum(groups * each for groups, each in sizes) == len(specs)
    # Two signatures, 32 fits at most on a CPU: 36 and 12 fits.
    assert len(stacks) == 3


@given(rows=st.integers(1, 200), batch=st.integers(1, 64), epoch=st.integers(0, 3))
def test_minibatches_divide_the_rows_evenly(rows: int, batch: int, epoch: int) -> None:
    numbers = np.arange(rows) * 3
    parts = minibatches(numbers, 1, 0, 0, epoch, batch)
    assert sorted(np.concatenate(parts).tolist()) == numbers.tolist()
    sizes = [len(part) for part in parts]
    assert len(parts) == n_steps(rows, batch)
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_minibatches_depend_on_all_of_their_key() -> None:
    rows = np.arange(100)
    key = {"seed": 1, "replicate": 0, "fold": 0, "epoch": 0, "batch_size": 50}
    base = minibatches(rows, **key)[0]
    assert np.array_equal(minibatches(rows, **key)[0], base)
    for name in key:
        assert not np.array_equal(minibatches(rows, **{**key, name: key[name] + 1})[0][:40], base[:40]), name


def test_dropout_keys_differ() -> None:
    keys = {dropout_key(1, r, f, e, s, 16) for r in (0, 1) for f in (0, 1) for e in (0, 1) for s in (0, 1)}
    assert len(keys) == 16
    assert len({task_key(1, r, task) for r in (0, 1) for task in TASKS}) == 2 * len(TASKS)


def test_positions_do_not_depend_on_the_order_of_names() -> None:
    positions, signature = positions_of(("stay", "organ", "anemia", "phenotype", "grade"), DATA, Model())
    assert positions == ("anemia", "grade", "organ", "stay", "phenotype")
    assert signature == (
        ("binary", 1),
        ("multiclass", 3),
        ("multiclass", 4),
        ("regression", 1),
        ("clustering", 0),
    )
    assert dataclasses.asdict(spec("stay", "anemia"))["combination"] == ("anemia", "stay")
