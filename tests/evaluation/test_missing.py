"""The verb `missing` on a small study: what is hidden, and that scores are those of the rows that remain."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import MISSING, SELECTION, samples_schema
from m3h_pipeline.contracts.reported import RELIANCE
from m3h_pipeline.errors import InputError
from m3h_pipeline.evaluation.missing import SHARES, Sources, cases, hidden_rows, missing_scores, shown_shares
from m3h_pipeline.figures.registry import render
from m3h_pipeline.files import read_table, write_json, write_table
from m3h_pipeline.training.fitted import load_model
from m3h_pipeline.training.pack import train_pack
from tests.training.studies import TASKS, WIDTHS, settings, study, write_study

CHOSEN = {"anemia": "anemia+stay", "stay": "anemia+stay", "sepsis": "sepsis", "phenotype": "phenotype"}
N = 800


def finished(folder: Path, modalities: list[str], few: int | None = None, **model: Any) -> Path:
    """A study with final models of two replicates; ``few``: test samples that have the last modality."""
    data = study(n=N, widths={name: WIDTHS[name] for name in modalities})
    if few is not None:
        data.features[modalities[-1]][np.flatnonzero(~data.train)[few:]] = np.nan
    entries = [
        {"combination": key.split("+"), "replicates": [0, 1], "folds": [0, -1], "settings": [[16, 0.01]]}
        for key in sorted(set(CHOSEN.values()))
    ]
    write_study(data, folder, {"0000": entries})
    ids = [{"sample_id": f"s{i:05d}", "patient_id": f"p{i // 2:05d}", "stay_id": None} for i in range(N)]
    schema = samples_schema([])
    write_table(pa.Table.from_pylist(ids, schema=schema), folder / "cohort/samples.parquet", schema)
    train_pack(
        *(folder / "plan.json", "0000", folder / "cohort", folder / "labels", folder / "split.parquet"),
        *(folder / "store", folder / "scores.parquet", folder / "predictions.parquet"),
        settings(modalities=modalities, epochs=6, model=model),
        models=folder / "models",
    )
    rows = [
        {
            "task": task,
            "control": "",
            "problem_class": TASKS[task]["problem_class"],
            "metric": TASKS[task]["metric"],
        }
        | {"combination": key, "size": 1, "batch_size": 16, "learning_rate": 0.01, "score": 0.7}
        | {"single_batch_size": 16, "single_learning_rate": 0.01, "single_score": 0.6}
        for task, key in CHOSEN.items()
    ]
    write_table(pa.Table.from_pylist(rows, schema=SELECTION), folder / "selection.parquet", SELECTION)
    write_json(
        {"tasks": {t: {**data.tasks[t], "status": "ok"} for t in CHOSEN}}, folder / "labels/tasks.json"
    )
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("study"), ["alpha", "beta"], absence="learned")


def run(folder: Path, modalities: list[str], models: str = "models") -> tuple[list[dict[str, Any]], str]:
    screen = io.StringIO()
    sources = Sources(
        *(folder / "cohort", folder / "labels", folder / "labels/tasks.json", folder / "split.parquet"),
        *(folder / "selection.parquet", [folder / "scores.parquet"], [folder / models]),
    )
    out = folder / "evaluation/missing.parquet"
    out.parent.mkdir(exist_ok=True)
    reliance = out.with_name("reliance.parquet")
    missing_scores(sources, settings(modalities=modalities).modalities, 200, 3, out, reliance, screen)
    return read_table(out, MISSING).to_pylist(), screen.getvalue()


def test_scores_are_those_of_models_that_see_no_value_of_what_is_hidden(trained: Path) -> None:
    """Referee: raw values become NaN, a model predicts, scikit-learn scores the mean of the replicates."""
    found, said = run(trained, ["alpha", "beta"])
    assert "3 tasks, 2 modalities hidden" in said
    assert [(row["task"], row["modality"], row["share"]) for row in found] == [
        (task, name, share)
        for task in ("anemia", "sepsis", "stay")
        for name in ("alpha", "beta", None)
        for share in SHARES
    ]
    data = study(n=N, widths={name: WIDTHS[name] for name in ("alpha", "beta")})
    rows = data.scored_rows(-1)
    present = {name: there[rows] for name, there in data.present.items()}
    table = read_table(trained / "scores.parquet").to_pandas().query("fold == -1")
    for row in found:
        gone = hidden_rows(present, (row["modality"], row["share"]), 3)
        raw = {name: x[rows].copy() for name, x in data.features.items()}
        for name, away in gone.items():
            raw[name][away] = np.nan
        keys = table[table["combination"] == CHOSEN[row["task"]]]["fit_key"].unique()
        said_by = [load_model(trained / f"models/{key}.safetensors").predict(raw) for key in sorted(keys)]
        assert len(said_by) == 2
        mean = np.mean([one[row["task"]].astype(float) for one in said_by], axis=0)[:, 0]
        # Samples of which nothing is known have one prediction; rounding must not order them.
        nothing = np.all([np.isnan(x).all(1) for x in raw.values()], axis=0)
        assert np.ptp(mean[nothing]) < 1e-4 if nothing.any() else row["share"] < 1 or row["modality"]
        mean[nothing] = mean[nothing].mean() if nothing.any() else 0.0
        y = data.labels[row["task"]][rows]
        seen = ~np.isnan(y)
        score = r2_score if row["metric"] == "r2" else roc_auc_score
        assert row["value"] == pytest.approx(score(y[seen], mean[seen]), abs=1e-6)
        assert row["low"] <= row["value"] <= row["high"]
        whole = next(r for r in found if (r["task"], r["modality"], r["share"]) == (row["task"], None, 0.0))
        assert row["change"] == pytest.approx(row["value"] - whole["value"], abs=1e-9)
        assert row["change_low"] <= row["change"] <= row["change_high"]
        if row["modality"] is None and row["share"] == 1 and row["metric"] == "auroc":
            # Nothing is known of anyone: all have the same risk.
            assert row["value"] == 0.5


def test_what_is_hidden_is_a_share_of_what_there_is_and_grows() -> None:
    rng = np.random.default_rng(0)
    present = {"one": np.ones(101, dtype=bool), "two": rng.random(101) < 0.7}
    order = {}
    for name in (*present, None):
        before = {modality: np.zeros(101, dtype=bool) for modality in present}
        for share in SHARES:
            gone = hidden_rows(present, (name, share), 5)
            for modality, there in present.items():
                hides = name in (modality, None)
                assert gone[modality].sum() == (int(share * there.sum() + 0.5) if hides else 0)
                assert not (gone[modality] & ~there).any()
                assert not (before[modality] & ~gone[modality]).any()
            before = gone
            order[name, share] = gone
    # What is hidden of one modality is so whatever else is, and other samples lack another.
    assert np.array_equal(order["one", 0.5]["one"], order[None, 0.5]["one"])
    assert not np.array_equal(order[None, 0.5]["one"] & present["two"], order[None, 0.5]["two"])
    other = hidden_rows(present, ("one", 0.5), 6)
    assert not np.array_equal(other["one"], order["one", 0.5]["one"])
    # Which samples lack another modality plays no part.
    assert np.array_equal(
        hidden_rows({"one": present["one"]}, ("one", 0.5), 5)["one"], order["one", 0.5]["one"]
    )
    assert len(cases(present)) == 3 * len(SHARES)


def test_what_few_patients_lose_is_not_scored() -> None:
    def shares(n: int, each: int = 1, seen: float = 1.0) -> set[float]:
        have = np.arange(200) < n
        hidden = {case: hidden_rows({"one": have}, case, 5) for case in cases(["one"])}
        return shown_shares(hidden, "one", np.arange(200) // each, np.arange(200) < seen * 200)

    assert shares(200) == shares(48) == set(SHARES)
    # Eight patients have it: with four of them hidden a score would tell of these.
    assert shares(8) == {0.0}
    assert shares(0) == set(SHARES)
    # Steps of 6 patients are taken two at a time; the last one counts with those before it.
    assert shares(24) == {0.0, 0.5, 1.0}
    assert shares(32) == {0.0, 0.5, 1.0}
    # Of 40 samples that lose it in two steps, all are of 4 patients.
    assert shares(40, each=10) == {0.0}
    assert shares(200, seen=0.02) == {0.0}


def test_a_modality_of_few_test_patients_has_no_curve(tmp_path: Path) -> None:
    found, _ = run(finished(tmp_path, ["alpha", "beta"], few=7), ["alpha", "beta"])
    for row in found:
        numbers = [row[name] for name in ("value", "low", "high", "change", "change_low", "change_high")]
        told = row["share"] == 0 or row["modality"] != "beta"
        assert numbers.count(None) == (0 if told else 6), row


def test_a_study_of_one_modality_has_nothing_to_hide(tmp_path: Path) -> None:
    folder = finished(tmp_path, ["alpha"])
    found, said = run(folder, ["alpha"])
    assert found == []
    assert "one modality" in said
    render("missing", folder, Figures(formats=["svg"]), folder / "figures")
    assert "Nothing to hide" in (folder / "figures/missing.svg").read_text()


def test_missing_models_are_said(trained: Path) -> None:
    with pytest.raises(InputError, match="2 final model"):
        run(trained, ["alpha", "beta"], models="elsewhere")


def test_the_figure_shows_the_table(trained: Path) -> None:
    run(trained, ["alpha", "beta"])
    render("missing", trained, Figures(formats=["svg"]), trained / "figures")
    lines = (trained / "figures/missing.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 3 * len(SHARES)
    assert sum("each of them" in line for line in lines) == 3 * len(SHARES)


def test_sources_and_features_that_a_model_leans_on(trained: Path) -> None:
    """Referees: the model that sees no value of the source; a finite difference of its prediction."""
    run(trained, ["alpha", "beta"])
    rows = read_table(trained / "evaluation/reliance.parquet", RELIANCE).to_pylist()
    assert {row["task"] for row in rows} == {"anemia", "sepsis", "stay"}
    data = study(n=N, widths={name: WIDTHS[name] for name in ("alpha", "beta")})
    at = data.scored_rows(-1)
    raw = {name: x[at] for name, x in data.features.items()}
    keys = read_table(trained / "scores.parquet").to_pandas().query("combination == 'sepsis' and fold == -1")
    models = [load_model(trained / f"models/{key}.safetensors") for key in sorted(keys["fit_key"].unique())]
    y = data.labels["sepsis"][at]
    seen = ~np.isnan(y)

    def score(features: dict[str, Any]) -> float:
        mean = np.mean([one.predict(features)["sepsis"].astype(float) for one in models], axis=0)[:, 0]
        return float(roc_auc_score(y[seen], mean[seen]))

    for row in (row for row in rows if (row["task"], row["what"]) == ("sepsis", "source")):
        gone = raw | {row["source"]: np.full_like(raw[row["source"]], np.nan)}
        # Ties of rows of which nothing is known are broken by rounding.
        assert row["value"] == pytest.approx(score(raw) - score(gone), abs=0.02)
        assert row["low"] <= row["value"] <= row["high"]
    first = next(row for row in rows if (row["task"], row["what"]) == ("sepsis", "feature"))
    assert first["source"] in ("alpha", "beta")
    assert abs(first["direction"]) <= first["value"] + 1e-9
    sizes = []
    for model in models:
        x, present = model.standardise(raw), model.present(raw)
        names = [f"{name}_{j}" for name, j in model.inputs()]
        j = names.index(first["name"])

        def odds(x: Any, model: Any = model, present: Any = present) -> Any:
            p = model.predict_scaled(x, present)["sepsis"][:, 0].astype(np.float64)
            return np.log(p / (1 - p))

        step = 0.02
        up, down = x.clone(), x.clone()
        up[:, j] += step
        down[:, j] -= step
        slope = (odds(up) - odds(down)) / (2 * step)
        sizes.append(float(np.abs(slope).mean() * x[:, j].double().numpy().std()))
    assert first["value"] == pytest.approx(np.mean(sizes), rel=0.05)
