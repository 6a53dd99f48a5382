"""TIM end to end on made-up predictions: the estimate, and how often it is wrong about being sure."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.metrics import r2_score, roc_auc_score

from m3h_pipeline.coding import is_permuted, labelled_by
from m3h_pipeline.config import Tim, Training
from m3h_pipeline.contracts import PREDICTIONS
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import read_json, read_table, write_json, write_table
from m3h_pipeline.inference.bootstrap import patient_counts
from tests.tim.studies import SEED, Array, binary_labels, generator, make_study, noisy_model
from tests.tim.test_contexts import enumerated, score

QUICK = Tim(draws=200)


def test_the_estimate_is_the_mean_paired_difference(tmp_path: Path) -> None:
    """Against a direct computation with scikit-learn, for every problem class with its own metric."""
    draw = np.random.default_rng(0)
    n = 400
    labels: dict[str, Array] = {
        "a": (draw.random(n) < 0.3).astype(np.float32),
        "m": draw.integers(0, 3, n).astype(np.float32),
        "r": draw.normal(size=n).astype(np.float32),
        "z": np.zeros(n, dtype=np.float32),
    }
    labels["a"][draw.random(n) < 0.2] = np.nan
    labels["r"][draw.random(n) < 0.2] = np.nan
    kinds = {
        "m": ("multiclass", "macro_auroc"),
        "r": ("regression", "r2"),
        "z": ("clustering", "silhouette"),
    }
    study = make_study(tmp_path, labels, kinds)
    said: dict[tuple[tuple[str, ...], str, int, int], Array] = {}

    def predict(
        combination: tuple[str, ...],
        task: str,
        replicate: int,
        fold: int,
        setting: tuple[int, float],
        rows: npt.NDArray[np.intp],
    ) -> Array:
        g = generator(combination, task, replicate, fold)
        y = np.nan_to_num(study.label(task)[rows])
        if labelled_by(task) == "m":
            raw = np.exp(np.eye(3)[y.astype(int)] + g.normal(size=(len(rows), 3)))
            value = raw / raw.sum(axis=1, keepdims=True)
        elif task == "z":
            value = np.stack([g.integers(0, 4, len(rows)), g.uniform(-0.2, 0.6, len(rows))], axis=1)
        else:
            value = (y + 0.5 * g.normal(size=len(rows)))[:, None]
        said[combination, task, replicate, fold] = value.astype(np.float32)
        return said[combination, task, replicate, fold]

    found = study.measure(predict, Tim(replicates=2, draws=50))

    def metric(combination: tuple[str, ...], task: str, replicate: int, fold: int) -> float:
        rows = np.flatnonzero(study.fold == fold)
        y, value = study.label(task)[rows], said[combination, task, replicate, fold]
        seen = ~np.isnan(y)
        if labelled_by(task) == "m":
            one_hot = np.eye(3)[y.astype(int)]
            return float(roc_auc_score(one_hot, value, average="macro"))
        if task == "z":
            return float(value[:, 1].astype(float).mean())
        referee = roc_auc_score if labelled_by(task) == "a" else r2_score
        return float(referee(y[seen].astype(float), value[seen, 0].astype(float)))

    def differences(task: str, other: str) -> list[float]:
        pair = (min(task, other), max(task, other))
        return [metric(pair, task, r, k) - metric((task,), task, r, k) for r in range(2) for k in range(3)]

    permuted = {name for pair in study.controls for name in pair if is_permuted(name)}
    assert len(permuted) == 3
    for task, other in itertools.permutations(labels, 2):
        row = found[task, other]
        assert row["estimate"] == pytest.approx(np.mean(differences(task, other)), abs=1e-9)
        beside = np.mean([differences(task, control) for control in permuted])
        assert row["excess"] == pytest.approx(row["estimate"] - beside, abs=1e-9)
        assert row["n_differences"] == 6
        assert row["low"] < row["estimate"] < row["high"]
        assert row["excess_low"] < row["excess"] < row["excess_high"]
        assert row["mode"] == "pairs"
    for (task, other), row in study.controls.items():
        assert row["estimate"] == pytest.approx(np.mean(differences(task, other)), abs=1e-9)
        assert np.isnan([row["q"], row["excess"], row["excess_q"]]).all()
        assert not row["significant"]
    for name in ("", "excess_"):
        p = np.array([row[f"{name}p"] for row in found.values()])
        assert [row[f"{name}q"] for row in found.values()] == pytest.approx(stats.false_discovery_control(p))


def test_the_variance_of_patients_is_a_bootstrap_of_patients(tmp_path: Path) -> None:
    """With one replicate the interval is that of an explicit bootstrap: every draw gives each patient of the
    training part a count, and every fold's AUROC is scikit-learn's with these counts as weights.
    """
    study = make_study(tmp_path, binary_labels(["a", "b"], 300, prevalence=0.1), samples_per_patient=3)
    model = noisy_model(study)
    settings = Tim(replicates=1, draws=40)
    found = study.measure(model, settings)["a", "b"]
    train = np.flatnonzero(study.fold >= 0)
    names = np.array([f"p{i}" for i in study.patient[train]])
    unit = np.full(len(study.patient), -1)
    unit[train] = np.unique(names, return_inverse=True)[1]
    y = study.labels["a"]
    differences = []
    for counts in patient_counts(int(unit.max()) + 1, settings.draws, SEED):
        folds = []
        for fold in range(3):
            rows = np.flatnonzero(study.fold == fold)
            weight = counts[unit[rows]]
            if weight[y[rows] == 1].sum() == 0:
                continue
            areas = [
                roc_auc_score(y[rows], model(c, "a", 0, fold, (64, 1e-3), rows), sample_weight=weight)
                for c in (("a", "b"), ("a",))
            ]
            folds.append(areas[0] - areas[1])
        differences.append(np.mean(folds))
    units = len(np.unique(unit[(unit >= 0) & (y == 1)]))
    error = np.sqrt(np.var(differences, ddof=1) * units / (units - 1))
    reach = stats.t.ppf(0.975, units - 1) * error
    assert found["high"] - found["estimate"] == pytest.approx(reach, rel=1e-6)
    assert found["estimate"] - found["low"] == pytest.approx(reach, rel=1e-6)


def test_exact_from_files_is_the_papers_formula(tmp_path: Path) -> None:
    """A metric that cannot be resampled here needs no predictions: its interval is from folds and seeds."""
    names = ["a", "b", "c", "d"]
    study = make_study(
        tmp_path, binary_labels(names, 60), dict.fromkeys(names, ("my_package.Counts", "deviance"))
    )
    settings = Tim(mode="exact", replicates=2, draws=10)
    plans = study.plan(settings)
    scores = [
        study._scores(plan, lambda c, t, r, k, s: score("+".join(c), t) + 0.01 * r * (-1) ** k)
        for plan in plans
    ]
    found = study.tim(scores, [], settings)
    for pair, row in found.items():
        assert row["estimate"] == pytest.approx(enumerated(names, *pair), abs=1e-12)
        assert row["n_differences"] == 4 * 2 * 3


def test_a_companion_that_helps_is_found_and_one_that_harms_too(tmp_path: Path) -> None:
    names = [f"t{i}" for i in range(6)]
    study = make_study(tmp_path, binary_labels(names, 3000), folds=5)
    effect = {("t0", "t1"): 0.5, ("t2", "t3"): -0.5, ("t4", "t0"): 0.5}
    found = study.measure(noisy_model(study, effect, seeds=0.03, within=0.2), QUICK)
    for pair, row in found.items():
        assert row["significant"] == (pair in effect), pair
        if pair in effect:
            assert np.sign(row["estimate"]) == np.sign(effect[pair])
            assert row["low"] * row["high"] > 0


def test_overfitting_less_is_not_significant(tmp_path: Path) -> None:
    """R² from -1 to -0.2 is a sure difference and no help; to 0.6 it is one; harm always counts."""
    draw = np.random.default_rng(0)
    names = ["a", "b", "c"]
    labels: dict[str, Array] = {name: draw.normal(size=900).astype(np.float32) for name in names}
    study = make_study(tmp_path, labels, dict.fromkeys(names, ("regression", "r2")))
    error = {(): 1.41, ("a",): 1.41, ("a", "b"): 1.1, ("a", "c"): 0.63, ("b",): 1.1, ("b", "c"): 1.41}

    def predict(
        combination: tuple[str, ...],
        task: str,
        replicate: int,
        fold: int,
        setting: tuple[int, float],
        rows: npt.NDArray[np.intp],
    ) -> Array:
        noise = generator(combination, task, replicate, fold).normal(size=len(rows))
        own = tuple(t for t in combination if not is_permuted(t))
        return np.asarray(study.label(task)[rows] + error.get(own, 1.0) * noise, dtype=np.float32)

    found = study.measure(predict, QUICK)
    assert found["a", "b"]["q"] < 0.05
    assert found["a", "b"]["low"] > 0
    flags = {pair: found[pair]["significant"] for pair in (("a", "b"), ("a", "c"), ("b", "c"))}
    assert flags == {("a", "b"): False, ("a", "c"): True, ("b", "c"): True}
    assert found["b", "c"]["high"] < 0


def test_the_rate_of_false_discoveries_is_bounded_not_that_of_each_pair(tmp_path: Path) -> None:
    """A rate between a pair's p and its q: the pair alone would pass, among all others it does not."""
    names = [f"t{i}" for i in range(4)]
    study = make_study(tmp_path, binary_labels(names, 300), folds=2)
    scores, predictions = study.train(study.plan(QUICK), noisy_model(study, {("t0", "t1"): 0.5}))
    found = study.tim(scores, predictions, QUICK)
    p, q = (np.array([row[name] for row in found.values()]) for name in ("p", "q"))
    middle = int(np.argmax(q - p))
    rate = float(p[middle] + q[middle]) / 2
    again = study.tim(scores, predictions, Tim(draws=QUICK.draws, fdr=rate))
    for row in again.values():
        assert row["significant"] == (row["q"] <= rate)
    assert sum(p <= rate) > sum(row["significant"] for row in again.values())


@pytest.mark.parametrize(("seeds", "within"), [(0.0, 0.5), (0.1, 0.3), (0.4, 0.1)])
def test_noise_is_not_significant(tmp_path: Path, seeds: float, within: float) -> None:
    """Companions without effect, noise from patients only up to mostly from seeds: over 8 studies of 42 pairs
    each at most one may report anything (a rate of 0.05 per study makes 2 or more 6 % likely; the noise is
    fixed), and raw p-values below 0.05 must not exceed that share by more than chance.
    """
    names = [f"t{i}" for i in range(7)]
    p: list[float] = []
    wrong = 0
    for salt in range(8):
        folder = tmp_path / str(salt)
        study = make_study(folder, binary_labels(names, 500, seed=salt), folds=2, seed=salt)
        found = study.measure(noisy_model(study, seeds=seeds, within=within, salt=salt), Tim(draws=100))
        p += [row["p"] for row in found.values()]
        wrong += any(row["significant"] and row["estimate"] > 0 for row in found.values())
    assert wrong <= 1
    assert np.mean(np.array(p) < 0.05) < 0.08


def test_seeds_that_all_combinations_share_cancel(tmp_path: Path) -> None:
    """A replicate that is good or bad for every combination alike does not widen an interval."""
    names = ["a", "b", "c"]
    study = make_study(tmp_path, binary_labels(names, 900))
    base = noisy_model(study, {("a", "b"): 0.4}, seeds=0.0, within=0.2)
    widths = []
    for shared in (True, False):

        def predict(
            combination: tuple[str, ...],
            task: str,
            replicate: int,
            fold: int,
            setting: tuple[int, float],
            rows: npt.NDArray[np.intp],
            shared: bool = shared,
        ) -> Array:
            key = (replicate,) if shared else (replicate, combination)
            luck = 0.6 * generator("luck", *key).normal()
            said = base(combination, task, replicate, fold, setting, rows)
            assert said is not None
            return np.asarray(said + luck * study.label(task)[rows], dtype=np.float32)

        row = study.measure(predict, QUICK)["a", "b"]
        widths.append(row["high"] - row["low"])
    assert widths[0] < 0.5 * widths[1]


def test_one_replicate_counts_patients_only_and_says_so(tmp_path: Path) -> None:
    study = make_study(tmp_path, binary_labels(["a", "b"], 600))
    for replicates, said in ((1, "patients only: one replicate"), (3, "patients and seeds")):
        found = study.measure(noisy_model(study), Tim(replicates=replicates, draws=100))
        assert all(np.isfinite(row["p"]) for row in found.values())
        metadata = json.loads(pq.read_schema(tmp_path / "tim.parquet").metadata[b"tim"])
        assert (metadata["replicates"], metadata["variance"]) == (replicates, said)


@pytest.mark.parametrize(("replicates", "controls", "flagged"), [(1, 0, False), (1, 1, False), (3, 0, True)])
def test_nothing_is_flagged_where_nothing_says_what_seeds_do(
    tmp_path: Path, replicates: int, controls: int, flagged: bool
) -> None:
    study = make_study(tmp_path, binary_labels(["a", "b", "c"], 1500))
    model = noisy_model(study, {("a", "b"): 0.8}, seeds=0.0, within=0.1)
    found = study.measure(model, Tim(replicates=replicates, draws=100, controls=controls))["a", "b"]
    assert found["low"] > 0
    assert found["significant"] == flagged


def test_sampled_counts_sets_and_covers_the_truth(tmp_path: Path) -> None:
    """An effect that depends on the company: sampled intervals are wider than exact ones, and hold it."""
    names = ["a", "b", "c", "d", "e", "f"]
    study = make_study(tmp_path, binary_labels(names, 1500))
    base = noisy_model(study, {("a", "b"): 0.3}, seeds=0.0, within=0.1)

    def predict(
        combination: tuple[str, ...],
        task: str,
        replicate: int,
        fold: int,
        setting: tuple[int, float],
        rows: npt.NDArray[np.intp],
    ) -> Array:
        said = base(combination, task, replicate, fold, setting, rows)
        assert said is not None
        company = 0.4 * ("c" in combination) * ("b" in combination) * (task == "a")
        return np.asarray(said + company * study.label(task)[rows], dtype=np.float32)

    exact = study.measure(predict, Tim(mode="exact", replicates=2, draws=100, controls=0))["a", "b"]
    settings = Tim(mode="sampled", replicates=2, draws=100, sets=40, max_size=6)
    sampled = study.measure(predict, settings)
    one = sampled["a", "b"]
    assert one["high"] - one["low"] > exact["high"] - exact["low"]
    assert one["low"] < exact["estimate"] < one["high"]
    assert exact["significant"]
    assert exact["n_differences"] == 16 * 2 * 3
    assert {row["mode"] for row in sampled.values()} == {"sampled"}
    assert all(np.isfinite(row["excess_p"]) for row in sampled.values())
    assert {task for task, _ in study.controls} == set(names)
    metadata = json.loads(pq.read_schema(tmp_path / "tim.parquet").metadata[b"tim"])
    assert metadata["estimand"].startswith("the mean over all sets of at most 4 other tasks")
    assert metadata["variance"] == "patients and seeds and sets"


def test_the_order_of_files_and_tasks_plays_no_part(tmp_path: Path) -> None:
    study = make_study(tmp_path, binary_labels(["a", "b", "c"], 300))
    scores, predictions = study.train(study.plan(QUICK), noisy_model(study))
    first = study.tim(scores, predictions, QUICK)
    content = read_json(study.tasks)["tasks"]
    write_json({"tasks": dict(reversed(content.items()))}, study.tasks, sort_keys=False)
    for path in predictions:
        table = read_table(path, PREDICTIONS)
        write_table(table.take(pa.array(np.arange(len(table))[::-1])), path, PREDICTIONS)
    second = study.tim(scores[::-1], predictions[::-1], QUICK)
    assert second.keys() == first.keys()
    for pair, row in first.items():
        for name, value in row.items():
            same = pytest.approx(value, abs=1e-9) if isinstance(value, float) else value
            assert second[pair][name] == same


def test_a_diverged_pair_is_left_blank(tmp_path: Path) -> None:
    study = make_study(tmp_path, binary_labels(["a", "b", "c"], 300))
    base = noisy_model(study)

    def predict(combination: tuple[str, ...], *rest: object) -> Array | None:
        return None if combination == ("a", "b") and rest[2] == 1 else base(combination, *rest)  # type: ignore[arg-type]

    found = study.measure(predict, QUICK)
    assert np.isnan(found["a", "b"]["estimate"])
    assert (found["a", "b"]["n_differences"], found["a", "b"]["significant"]) == (0, False)
    defined = [row for pair, row in found.items() if set(pair) != {"a", "b"}]
    p = np.array([row["p"] for row in defined])
    assert [row["q"] for row in defined] == pytest.approx(stats.false_discovery_control(p))


def test_a_diverged_setting_gives_way_to_another(tmp_path: Path) -> None:
    study = make_study(tmp_path, binary_labels(["a", "b"], 300))
    base = noisy_model(study, seeds=0.0, within=0.0)
    training = Training(batch_sizes=[64], learning_rates=[1e-3, 1e-2])

    def predict(
        combination: tuple[str, ...],
        task: str,
        replicate: int,
        fold: int,
        setting: tuple[int, float],
        rows: npt.NDArray[np.intp],
    ) -> Array | None:
        if len(combination) == 2 and setting[1] == 1e-3 and replicate == 1:
            return None
        return base(combination, task, replicate, fold, setting, rows)

    found = study.measure(predict, QUICK, training)
    # All fits say the same: the pair, at its other setting, differs by nothing, surely.
    assert found["a", "b"]["estimate"] == 0
    assert (found["a", "b"]["p"], found["a", "b"]["low"], found["a", "b"]["high"]) == (1, 0, 0)


def test_a_fold_without_positives_is_left_out(tmp_path: Path) -> None:
    labels = binary_labels(["a", "b"], 600)
    study = make_study(tmp_path, labels)
    labels["a"][study.fold == 0] = 0
    study = make_study(tmp_path, labels)
    row = study.measure(noisy_model(study), QUICK)["a", "b"]
    assert row["n_differences"] == 2 * 3
    assert np.isfinite(row["p"])


def test_one_task_gives_an_empty_table(tmp_path: Path) -> None:
    study = make_study(tmp_path, binary_labels(["a"], 60))
    assert study.measure(noisy_model(study), QUICK) == {}


def test_missing_and_misfitting_inputs_are_explained(tmp_path: Path) -> None:
    study = make_study(tmp_path, binary_labels(["a", "b"], 120))
    scores, predictions = study.train(study.plan(QUICK), noisy_model(study))
    with pytest.raises(ContractError, match=r"of 171 predictions are missing"):
        study.tim(scores, predictions[:1], QUICK)
    with pytest.raises(InputError, match="does not exist"):
        study.tim(scores, [tmp_path / "none.parquet"], QUICK)
    with pytest.raises(ContractError, match="no replicate was trained with every combination"):
        study.tim(scores[:1], predictions, QUICK)
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match="carries no digest"):
        study.tim(scores, [tmp_path / "text.parquet"], QUICK)
    with pytest.raises(ContractError, match="missing"):
        study.tim(scores, [scores[0]], QUICK)
    table = read_table(predictions[1])
    short = pa.array([list(p)[:-1] for p in table.column("prediction").to_pylist()], pa.list_(pa.float32()))
    write_table(table.set_column(3, PREDICTIONS.field(3), short), predictions[1], PREDICTIONS)
    with pytest.raises(ContractError, match="rows, its part"):
        study.tim(scores, predictions, QUICK)
    assert not (tmp_path / "tim.parquet").exists()


def test_controls_are_named_on_both_sides_of_a_pair(tmp_path: Path) -> None:
    study = make_study(tmp_path, binary_labels(["a", "b", "c"], 300))
    tasks = read_json(study.tasks)
    tasks["tasks"]["b"]["control"] = "planted noise"
    write_json(tasks, study.tasks)
    found = study.measure(noisy_model(study), Tim(draws=20, replicates=2))
    assert len(found) == 6
    assert study.controls

    def reason(name: str) -> str:
        return "permuted labels" if is_permuted(name) else "planted noise" if name == "b" else ""

    for (task, companion), row in (found | study.controls).items():
        assert (row["task_control"], row["companion_control"]) == (reason(task), reason(companion))
        # The study's own controls count as before.
        assert row["control"] == (is_permuted(task) or is_permuted(companion))
    assert any(np.isfinite(row["q"]) for (task, _), row in found.items() if task == "b")


def test_the_general_cost_of_sharing_is_no_interaction(tmp_path: Path) -> None:
    """Every companion takes something off whoever it is; two help on top of that. Without permuted
    companions most pairs are flagged as harmful, with them only what was planted, as what it is."""
    names = [f"t{i}" for i in range(7)]
    study = make_study(tmp_path, binary_labels(names, 2500, seed=1), folds=3, seed=1)
    effect = {("t0", "t1"): 0.45, ("t2", "t3"): 0.45}
    model = noisy_model(study, effect, seeds=0.03, within=0.2, salt=1, cost=0.15)
    blind = study.measure(model, Tim(draws=200, controls=0))
    assert sum(row["significant"] and row["estimate"] < 0 for row in blind.values()) > 20
    assert all(np.isnan(row["excess"]) for row in blind.values())
    found = study.measure(model, QUICK)
    assert {pair for pair, row in found.items() if row["significant"]} == set(effect)
    for pair, row in found.items():
        assert row["estimate"] == pytest.approx(blind[pair]["estimate"])
        assert (row["excess"] > 0) == (pair in effect) or abs(row["excess"]) < 0.02
    beside = [row["estimate"] for (_, name), row in study.controls.items() if is_permuted(name)]
    assert np.mean(beside) < -0.01


def test_companions_that_differ_among_themselves_are_not_flagged(tmp_path: Path) -> None:
    """What a companion does by chance, for all seeds and patients alike, permuted companions do too."""
    names = [f"t{i}" for i in range(7)]
    wrong = []
    for controls in (0, 3):
        study = make_study(tmp_path / str(controls), binary_labels(names, 2500), folds=3)
        chance = {
            (task, other): 0.12 * float(generator(task, other).normal())
            for task in names
            for other in [*names, *(f"{name}~1" for name in names)]
        }
        model = noisy_model(study, chance, seeds=0.03, within=0.2)
        found = study.measure(model, Tim(draws=200, controls=controls))
        wrong.append(sum(row["significant"] for row in found.values()))
    assert wrong[0] > 10
    assert wrong[1] <= 2
