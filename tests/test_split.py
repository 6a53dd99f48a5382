"""The split: patients never straddle, several tasks are balanced at once, row order does not matter."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from m3h_pipeline.coding import signed_time
from m3h_pipeline.config import Split
from m3h_pipeline.contracts import SPLIT, samples_schema
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import read_table, write_labels, write_table
from m3h_pipeline.split import imbalance as largest_deviation
from m3h_pipeline.split import make_split, patient_index, split_cohort
from tests.tasks.cohorts import write_cohort

Labels = dict[str, npt.NDArray[np.float32]]


def cohort(patients: int, tasks: int, seed: int, rarest: float = 0.02) -> tuple[pa.Table, Labels]:
    """Patients of one to many samples; labels cluster in patients, go together, are partly missing."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), generator.geometric(0.4, patients))
    latent = generator.normal(size=patients)
    labels = {}
    for t in range(tasks):
        score = (latent + generator.normal(size=patients))[patient]
        share = np.exp(generator.uniform(np.log(rarest), np.log(0.5)))
        y = (score > np.quantile(score, 1 - share)).astype(np.float32)
        if t % 3 == 0:
            y[generator.random(len(y)) < 0.4] = np.nan
        labels[f"t{t}"] = y
    ids = [f"s{i:06d}" for i in range(len(patient))]
    return pa.table({"sample_id": ids, "patient_id": [f"p{p}" for p in patient]}), labels


def places(split: pa.Table) -> npt.NDArray[np.int64]:
    """-1 for the test part, else the fold."""
    assert {
        p for p, f in zip(split["part"].to_pylist(), split["fold"].to_pylist(), strict=True) if f >= 0
    } <= {"train"}
    assert {
        p for p, f in zip(split["part"].to_pylist(), split["fold"].to_pylist(), strict=True) if f < 0
    } <= {"test"}
    return np.asarray(split["fold"].to_numpy(), np.int64)


def imbalance(place: npt.NDArray[np.int64], labels: Labels, share: dict[int, float]) -> float:
    """Mean over tasks and places of the relative deviation of positives from their share."""
    errors = []
    for y in labels.values():
        total = (y == 1).sum()
        errors += [abs((y[place == k] == 1).sum() / (total * w) - 1) for k, w in share.items()]
    return float(np.mean(errors))


def shares(chosen: Split) -> dict[int, float]:
    rest = (1 - chosen.test_fraction) / chosen.folds
    return {-1: chosen.test_fraction} | dict.fromkeys(range(chosen.folds), rest)


@settings(deadline=None, max_examples=40)
@given(
    owners=st.lists(st.integers(0, 30), min_size=1, max_size=120),
    folds=st.integers(2, 6),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_patients_never_straddle_and_nothing_is_empty(
    owners: list[int], folds: int, fraction: float, seed: int, data: st.DataObject
) -> None:
    n = len(owners)
    cell = st.sampled_from([0.0, 1.0, 2.0, np.nan])
    labels = {
        name: np.array(data.draw(st.lists(cell, min_size=n, max_size=n)), np.float32)
        for name in data.draw(st.sampled_from([[], ["a"], ["a", "b"]]))
    }
    samples = pa.table(
        {"sample_id": [f"s{i:04d}" for i in range(n)], "patient_id": [f"p{o}" for o in owners]}
    )
    chosen = Split(folds=folds, test_fraction=fraction, seed=seed)
    patients = len(set(owners))
    if patients < folds + 1:
        with pytest.raises(InputError, match="cannot fill a test part"):
            make_split(samples, labels, chosen)
        return
    split = make_split(samples, labels, chosen)
    assert split.schema.equals(SPLIT)
    assert split["sample_id"].equals(samples["sample_id"])
    place = places(split)
    where: dict[int, set[int]] = {}
    for owner, k in zip(owners, place, strict=True):
        where.setdefault(owner, set()).add(int(k))
    assert all(len(found) == 1 for found in where.values())
    count = Counter(found.pop() for found in where.values())
    assert sorted(count) == list(range(-1, folds))
    for k, share in shares(chosen).items():
        assert abs(count[k] - patients * share) <= folds or count[k] == 1
    if patients > 2 * (folds + 1) and fraction * patients >= 1:
        assert abs(count[-1] - patients * fraction) < folds


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    samples, labels = cohort(60, 4, seed)
    n = samples.num_rows
    order = np.random.default_rng(seed).permutation(n)
    shuffled = {name: y[order] for name, y in labels.items()}
    one = make_split(samples, labels, Split(folds=3))
    two = make_split(samples.take(pa.array(order)), shuffled, Split(folds=3))
    assert np.array_equal(places(one)[order], places(two))
    swapped = dict(reversed(labels.items()))
    assert make_split(samples, swapped, Split(folds=3)).equals(one)


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    samples, labels = cohort(200, 3, 0)
    one, again, other = (make_split(samples, labels, Split(seed=s)) for s in (0, 0, 1))
    assert one.equals(again)
    moved = np.mean(places(one) != places(other))
    assert moved > 0.5


@pytest.mark.parametrize("tasks", [1, 6, 20])
def test_balance_is_far_better_than_random(tasks: int) -> None:
    chosen = Split()
    ratios = []
    for seed in range(3):
        samples, labels = cohort(600, tasks, seed)
        ours = imbalance(places(make_split(samples, labels, chosen)), labels, shares(chosen))
        blind = np.mean(
            [
                imbalance(places(make_split(samples, {}, Split(seed=s))), labels, shares(chosen))
                for s in range(3)
            ]
        )
        ratios.append(ours / blind)
    assert np.mean(ratios) < 0.25


def test_one_task_is_balanced_at_least_as_well_as_by_scikit_learn() -> None:
    """The referee stratifies by one label: folds of equal size, so the test part is one of six."""
    chosen = Split(test_fraction=1 / 6, folds=5)
    ours, theirs = [], []
    for seed in range(4):
        samples, labels = cohort(300, 2, seed, rarest=0.1)
        y = {"t1": labels["t1"]}
        ours.append(imbalance(places(make_split(samples, y, chosen)), y, shares(chosen)))
        referee = StratifiedGroupKFold(6, shuffle=True, random_state=seed)
        place = np.empty(samples.num_rows, np.int64)
        groups = np.array(samples["patient_id"].to_pylist())
        for k, (_, rows) in enumerate(referee.split(groups[:, None], y["t1"], groups)):
            place[rows] = k - 1
        theirs.append(imbalance(place, y, shares(chosen)))
    assert np.mean(ours) <= np.mean(theirs)


@pytest.mark.parametrize("others", [0.0, np.nan])
def test_a_rare_task_reaches_every_place(others: float) -> None:
    """Whether its label is rarely positive, or rarely observed."""
    samples, labels = cohort(400, 1, 0)
    owners = np.array(samples["patient_id"].to_pylist())
    rare = np.full(samples.num_rows, others, np.float32)
    for name in np.unique(owners)[:12]:
        rare[owners == name] = 1
    place = places(make_split(samples, labels | {"rare": rare}, Split(folds=5)))
    carriers = Counter({name: int(place[owners == name][0]) for name in np.unique(owners)[:12]}.values())
    assert sorted(carriers) == list(range(-1, 5))


def test_classes_and_numbers_are_balanced_too() -> None:
    samples, _ = cohort(600, 1, 0)
    generator = np.random.default_rng(1)
    n = samples.num_rows
    kind = generator.choice(4, n, p=[0.6, 0.25, 0.1, 0.05]).astype(np.float32)
    days = generator.exponential(5, n).astype(np.float32)
    days[generator.random(n) < 0.2] = np.nan
    chosen = Split()
    place = places(make_split(samples, {"kind": kind, "days": days}, chosen))
    for k, share in shares(chosen).items():
        for c in range(4):
            assert (kind[place == k] == c).sum() == pytest.approx(share * (kind == c).sum(), abs=1)
        assert np.nanmedian(days[place == k]) == pytest.approx(np.nanmedian(days), rel=0.15)
        assert (~np.isnan(days[place == k])).sum() == pytest.approx(share * (~np.isnan(days)).sum(), rel=0.1)


def test_survival_tasks_share_out_their_events(tmp_path: Path) -> None:
    """Balancing their times instead would leave the events to chance."""
    generator = np.random.default_rng(0)
    n = 300
    event = generator.random(n) < 0.2
    y = signed_time(generator.exponential(10, n), event)
    y[generator.random(n) < 0.1] = np.nan
    write_cohort(tmp_path, [(f"p{i}", None) for i in range(n)])
    write_labels(y, tmp_path / "os.parquet", {"problem_class": "survival"})
    chosen = Split()
    split_cohort(
        tmp_path / "samples.parquet", {"os": tmp_path / "os.parquet"}, tmp_path / "split.parquet", chosen
    )
    place = places(read_table(tmp_path / "split.parquet", SPLIT))
    for k, share in shares(chosen).items():
        for rows in (event & ~np.isnan(y), ~event & ~np.isnan(y)):
            assert (rows & (place == k)).sum() == pytest.approx(share * rows.sum(), abs=1)


def test_every_quarter_of_a_number_and_what_is_observed_is_balanced_to_a_sample() -> None:
    n = 200
    generator = np.random.default_rng(5)
    samples = pa.table(
        {"sample_id": [f"s{i:03d}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)]}
    )
    days = generator.exponential(5, n).astype(np.float32)
    quarter = np.searchsorted(np.quantile(days, [0.25, 0.5, 0.75]), days)
    # Known of some, and of those the same: only how many are known can be balanced.
    seen = np.where(generator.random(n) < 0.3, 1, np.nan).astype(np.float32)
    chosen = Split()
    place = places(make_split(samples, {"days": days, "seen": seen}, chosen))
    for k, share in shares(chosen).items():
        here = place == k
        for q in range(4):
            assert abs((quarter[here] == q).sum() - share * (quarter == q).sum()) <= 1
        assert abs((seen[here] == 1).sum() - share * (seen == 1).sum()) <= 1


def test_files(tmp_path: Path) -> None:
    write_cohort(tmp_path, [(f"p{i // 2}", None) for i in range(80)])
    described = {"problem_class": "binary"}
    y = (np.arange(80) % 8 < 2).astype(np.float32)
    write_labels(y, tmp_path / "a.parquet", described)
    write_labels(np.zeros(80, np.float32), tmp_path / "p.parquet", {"problem_class": "clustering"})
    paths = {"a": tmp_path / "a.parquet", "p": tmp_path / "p.parquet"}
    split_cohort(tmp_path / "samples.parquet", paths, tmp_path / "split.parquet", Split(folds=4))
    place = places(read_table(tmp_path / "split.parquet", SPLIT))
    assert Counter(place[y == 1].tolist()) == dict.fromkeys(range(-1, 4), 4)
    write_labels(y[:5], tmp_path / "a.parquet", described)
    with pytest.raises(ContractError, match="5 labels for 80 samples"):
        split_cohort(tmp_path / "samples.parquet", paths, tmp_path / "split.parquet", Split())
    write_cohort(tmp_path, [("p1", None), ("p2", None)])
    with pytest.raises(InputError, match="2 patients cannot fill a test part and 1000000000 folds"):
        split_cohort(tmp_path / "samples.parquet", {}, tmp_path / "split.parquet", Split(folds=10**9))
    with pytest.raises(InputError, match="2 patients cannot fill a test part and 5 folds"):
        split_cohort(tmp_path / "samples.parquet", {}, tmp_path / "split.parquet", Split())


def test_patients_are_numbered_in_the_order_of_their_names() -> None:
    assert patient_index(np.array(["b", "a", "c", "b"], dtype=object)).tolist() == [1, 0, 2, 1]


def worst(place: npt.NDArray[np.int64], patient: npt.NDArray[np.intp], labels: Labels) -> float:
    """The largest deviation of a task in a part or fold, against parts drawn from patients at random."""
    found = []
    for y in labels.values():
        seen = ~np.isnan(y)
        sums = np.bincount(patient[seen], y[seen] - y[seen].mean(), int(patient.max()) + 1)
        of_patient = np.zeros(len(sums), dtype=np.int64)
        of_patient[patient] = place
        for k in np.unique(place):
            inside = of_patient == k
            rng = np.random.default_rng(0)
            drawn = [sums[rng.permutation(inside)].sum() for _ in range(400)]
            found.append(abs(sums[inside].sum()) / float(np.std(drawn)))
    return float(max(found))


def test_of_several_candidates_the_most_alike_over_all_tasks_is_taken() -> None:
    samples, labels = cohort(240, 12, 5, rarest=0.1)
    patient = patient_index(samples["patient_id"].to_pylist())
    by = {"t1": labels["t1"]}
    one = make_split(samples, by, Split(folds=3), labels)
    # One candidate is what the seed alone gives, whatever the other tasks are.
    assert one.equals(make_split(samples, by, Split(folds=3)))
    found = [make_split(samples, by, Split(folds=3, candidates=n), labels) for n in (1, 10, 30)]
    assert found[0].equals(one)
    measured = [worst(places(split), patient, labels) for split in found]
    assert measured[2] <= measured[1] * 1.05
    assert measured[2] < 0.8 * measured[0]
    # The same again, whatever the order of rows and of tasks.
    order = np.random.default_rng(1).permutation(samples.num_rows)
    shuffled = {name: y[order] for name, y in reversed(labels.items())}
    again = make_split(
        samples.take(pa.array(order)), {"t1": by["t1"][order]}, Split(folds=3, candidates=10), shuffled
    )
    assert np.array_equal(places(found[1])[order], places(again))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_the_candidate_taken_is_no_less_alike_than_any_other(seed: int) -> None:
    """Against every candidate made by itself: more candidates begin with the same ones."""
    samples, labels = cohort(40, 4, seed, rarest=0.2)
    patient = patient_index(samples["patient_id"].to_pylist())
    residuals: list[npt.NDArray[np.float64]] = []
    for y in labels.values():
        if len(np.unique(y[~np.isnan(y)])) > 1:
            centred = np.where(np.isnan(y), 0.0, y - np.nanmean(y))
            residuals.append(np.bincount(patient, centred)[:, None].astype(np.float64))
    measured = []
    for n in range(1, 6):
        place = places(make_split(samples, labels, Split(folds=2, candidates=n))) + 1
        of_patient = np.zeros(int(patient.max()) + 1, dtype=np.int64)
        of_patient[patient] = place
        measured.append(largest_deviation(of_patient, residuals))
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(measured))


def test_several_candidates_read_every_task_and_a_clustering_task_has_no_say(tmp_path: Path) -> None:
    samples, labels = cohort(200, 3, 2, rarest=0.1)
    n = samples.num_rows
    table = pa.table(
        {
            "sample_id": samples["sample_id"],
            "patient_id": samples["patient_id"],
            "stay_id": pa.array([None] * n, pa.string()),
        }
    )
    write_table(table, tmp_path / "samples.parquet", samples_schema([]))
    days = np.random.default_rng(0).gamma(2, 4, n).astype(np.float32)
    kinds = {"t0": "binary", "t1": "binary", "days": "regression", "kind": "clustering"}
    values = {**labels, "days": days, "kind": np.zeros(n, np.float32)}
    paths = {name: tmp_path / f"{name}.parquet" for name in kinds}
    for name, path in paths.items():
        write_labels(values[name], path, {"id": name, "problem_class": kinds[name]})
    chosen = Split(folds=2, candidates=8)
    by = {"t0": paths["t0"]}
    for name, every in (("all", paths), ("less", {k: v for k, v in paths.items() if k != "kind"})):
        split_cohort(tmp_path / "samples.parquet", by, tmp_path / f"{name}.split.parquet", chosen, every)
    one, two = (read_table(tmp_path / f"{name}.split.parquet") for name in ("all", "less"))
    assert one.equals(two)
    expected = make_split(
        table, {"t0": values["t0"]}, chosen, {name: values[name] for name in ("t0", "t1", "days")}
    )
    assert one.equals(expected)
    split_cohort(tmp_path / "samples.parquet", by, tmp_path / "own.parquet", chosen)
    assert read_table(tmp_path / "own.parquet").equals(make_split(table, {"t0": values["t0"]}, chosen))
