"""The verb train-pack, models rebuilt from their files, fits that exercise the whole path."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from m3h_pipeline.contracts import FIT_ATTENTION, LATENTS, PREDICTIONS, SCORES
from m3h_pipeline.errors import ConfigError, ContractError, InputError
from m3h_pipeline.files import read_table, write_json
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.fitted import FittedModel, load_model, save_model
from m3h_pipeline.training.pack import read_pack, train_pack
from m3h_pipeline.training.spec import next_fits
from m3h_pipeline.training.store import FitStore
from tests.training.studies import PRECISION, TASKS, settings, spec, study, write_study

ALL = ["anemia", "organ", "phenotype", "stay"]
ENTRY = {"combination": ALL, "replicates": [0, 1], "folds": [-1], "settings": [[16, 0.01]]}


def run(folder: Path, pack: str = "0000", models: bool = True, **options: Any) -> None:
    extra = {"models": folder / "models", "attention": folder / "a.parquet", "latents": folder / "l.parquet"}
    train_pack(
        folder / "plan.json",
        pack,
        folder / "cohort",
        folder / "labels",
        folder / "split.parquet",
        folder / "store",
        folder / "scores.parquet",
        folder / "predictions.parquet",
        settings(**options),
        **(extra if models else {}),
    )


def test_a_feature_of_one_patient_with_many_samples_is_in_no_model(tmp_path: Path) -> None:
    """Its mean, which a model holds, would tell of that patient, whatever else the study asks of training."""
    data = study(missing=False)
    his = np.flatnonzero(data.train)[:20]
    data.features["alpha"][:, 0] = np.isin(np.arange(data.n), his)
    data.patient = np.where(np.isin(np.arange(data.n), his), his[0], np.arange(data.n))
    write_study(data, tmp_path, {"0000": [ENTRY]})
    run(tmp_path)
    for path in (tmp_path / "models").iterdir():
        with safe_open(path, framework="numpy") as file:
            assert file.get_tensor("columns/alpha").tolist() == [False, True, True, True, True]


def test_a_pack_is_trained_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = study()
    write_study(data, tmp_path, {"0000": [ENTRY]})
    run(tmp_path)
    assert "2 of 2 fits" in capsys.readouterr().err
    scores = read_table(tmp_path / "scores.parquet", SCORES).to_pylist()
    assert len(scores) == 2 * 4
    assert {row["combination"] for row in scores} == {"anemia+organ+phenotype+stay"}
    assert {row["metric"] for row in scores} == {"auroc", "macro_auroc", "r2", "silhouette"}
    n_test = int((~data.train).sum())
    predictions = read_table(tmp_path / "predictions.parquet", PREDICTIONS).to_pylist()
    widths = {row["task"]: row["width"] for row in predictions}
    assert widths == {"anemia": 1, "organ": 4, "phenotype": 2, "stay": 1}
    for row in predictions:
        assert len(row["prediction"]) == n_test * row["width"]
    for row in scores:
        seen = int((~np.isnan(data.labels[row["task"]][~data.train])).sum())
        assert row["n_scored"] == seen
        assert row["epochs"] == 2
    attention = read_table(tmp_path / "a.parquet", FIT_ATTENTION).to_pandas()
    assert len(attention) == 2 * 16
    sums = attention.groupby(["fit_key", "task"]).weight.sum()
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)
    own = attention[attention.task == attention.companion].weight
    assert (own > 0.35).all()
    latents = read_table(tmp_path / "l.parquet", LATENTS).to_pylist()
    assert [len(row["latent"]) for row in latents] == [n_test * 8] * 2
    # A rebuilt model says about the raw rows what the fit said.
    files = sorted((tmp_path / "models").iterdir())
    assert {file.stem for file in files} == {row["fit_key"] for row in scores}
    for file in files:
        model = load_model(file)
        said = model.predict({name: x[~data.train] for name, x in data.features.items()})
        for row in predictions:
            if row["fit_key"] == file.stem:
                np.testing.assert_allclose(
                    said[row["task"]].reshape(-1), row["prediction"], rtol=2e-5, atol=2e-5
                )
        assert model.tasks["stay"]["title"] == "stay"
        assert set(said) == set(ALL)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_judged_is_what_the_model_says_wherever_it_is_used(tmp_path: Path, precision: Any) -> None:
    """The rows of the test part, each by itself and in double precision: to the bit what the pack wrote."""
    data = study()
    data.labels["stay"] = 1e4 * data.labels["stay"] + 2e5
    write_study(data, tmp_path, {"0000": [ENTRY | {"folds": [0, -1]}]})
    run(tmp_path, precision=precision)
    fold = {r["fit_key"]: r["fold"] for r in read_table(tmp_path / "scores.parquet", SCORES).to_pylist()}
    (stored,) = [FitStore(tmp_path / "store").load(fold, kept=True)]
    moved = 0.0
    for row in read_table(tmp_path / "predictions.parquet", PREDICTIONS).to_pylist():
        if fold[row["fit_key"]] >= 0 or row["task"] == "phenotype":
            continue
        model = load_model(tmp_path / "models" / f"{row['fit_key']}.safetensors", torch.float64)
        alone = [
            model.predict({name: x[[i]] for name, x in data.features.items()})[row["task"]]
            for i in np.flatnonzero(~data.train)
        ]
        assert np.concatenate(alone).reshape(-1).tolist() == row["prediction"]
        before = stored[row["fit_key"]].predictions[row["task"]].reshape(-1)
        moved = max(moved, float(np.abs(before / np.array(row["prediction"]) - 1).max()))
    # In training it was said in the precision of training.
    assert 0 < moved < (1e-4 if precision == "float32" else 0.5)


def test_models_are_kept_of_fits_on_the_whole_training_part(tmp_path: Path) -> None:
    """Not of the folds, whose predictions are written beside."""
    data = study()
    write_study(data, tmp_path, {"0000": [ENTRY | {"folds": [0, 1, -1]}]})
    run(tmp_path)
    scores = read_table(tmp_path / "scores.parquet", SCORES).to_pylist()
    predictions = read_table(tmp_path / "predictions.parquet", PREDICTIONS).to_pylist()
    assert len({row["fit_key"] for row in scores}) == len({row["fit_key"] for row in predictions}) == 6
    whole = {row["fit_key"] for row in scores if row["fold"] == -1}
    assert {file.stem for file in (tmp_path / "models").iterdir()} == whole
    for name, schema in (("a", FIT_ATTENTION), ("l", LATENTS)):
        assert set(read_table(tmp_path / f"{name}.parquet", schema)["fit_key"].to_pylist()) == whole


def test_predictions_do_not_depend_on_the_other_new_rows(tmp_path: Path) -> None:
    data = study()
    (result,) = run_fits([spec("anemia", "stay", fold=-1)], data, settings(), keep_models=True, code="")
    save_model(result, tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    whole = model.predict(data.features)
    part = model.predict({name: x[5:8] for name, x in data.features.items()})
    np.testing.assert_allclose(part["stay"], whole["stay"][5:8], rtol=1e-5)
    far = model.standardise({name: 1e6 * x for name, x in data.features.items()})
    assert float(far.abs().max()) == 10.0
    assert model.predict({name: x[:0] for name, x in data.features.items()})["anemia"].shape == (0, 1)


def test_of_two_clusters_with_one_centre_it_is_the_first() -> None:
    """A cluster of few patients has the centre of another one: rounding, which is of all rows, said which."""
    data = study()
    (result,) = run_fits([spec("phenotype", "stay", fold=-1)], data, settings(), keep_models=True, code="")
    assert result.parameters is not None
    centres = np.array(result.parameters["centres/phenotype"])
    near = centres[:1] + 0.1
    twice = np.concatenate([near + 9, near - 9, near + 5, near, near]).astype(centres.dtype)
    model = FittedModel(
        {**result.parameters, "centres/phenotype": twice}, result.metadata, dtype=torch.float64
    )
    whole = model.predict(data.features, distances=True)["phenotype"]
    assert set(whole[:, 0]) == {3.0}
    for some in (slice(5), slice(7, 8), slice(None, None, -1)):
        part = model.predict({name: x[some] for name, x in data.features.items()}, distances=True)
        assert part["phenotype"].tolist() == whole[some].tolist()


def test_a_model_is_always_the_same_bytes(tmp_path: Path) -> None:
    (result,) = run_fits([spec("anemia", "stay", fold=-1)], study(), settings(), keep_models=True, code="")
    written = set()
    for number in range(5):
        save_model(result, tmp_path / f"{number}.safetensors")
        written.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(written) == 1
    with safe_open(tmp_path / "0.safetensors", framework="numpy") as file:
        assert {**result.metadata, "digest": file.metadata()["digest"]} == file.metadata()
        assert result.parameters is not None
        assert set(file.keys()) == set(result.parameters)
        for name, value in result.parameters.items():
            np.testing.assert_array_equal(file.get_tensor(name), value)


def test_new_rows_of_the_wrong_shape_are_refused(tmp_path: Path) -> None:
    data = study()
    (result,) = run_fits([spec("anemia", fold=-1)], data, settings(), keep_models=True, code="")
    save_model(result, tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    features = dict(data.features)
    with pytest.raises(InputError, match="5 features, but the model was trained on 7"):
        model.predict({**features, "beta": features["alpha"]})
    del features["beta"]
    with pytest.raises(InputError, match="missing"):
        model.predict(features)
    (tmp_path / "m.safetensors").write_bytes(b"no model")
    with pytest.raises(InputError, match="carries no digest"):
        load_model(tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path / "absent.safetensors")


def test_diverged_fits_have_empty_scores_and_no_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {**ENTRY, "combination": ["anemia"], "replicates": [0], "settings": [[16, 0.01], [16, 1e18]]}
    write_study(study(), tmp_path, {"0000": [entry]})
    run(tmp_path)
    rows = read_table(tmp_path / "scores.parquet", SCORES).to_pylist()
    by_status = {row["status"]: row for row in rows}
    assert by_status["diverged"]["value"] is None
    assert by_status["ok"]["value"] is not None
    assert by_status["ok"]["fit_key"] != by_status["diverged"]["fit_key"]
    predictions = read_table(tmp_path / "predictions.parquet", PREDICTIONS)
    assert predictions.column("fit_key").to_pylist() == [by_status["ok"]["fit_key"]]
    assert "1 of 2 fits diverged" in capsys.readouterr().err


def test_the_product_of_an_entry_each_fit_once(tmp_path: Path) -> None:
    entry = {
        "combination": ["stay", "anemia"],
        "replicates": [0, 1],
        "folds": [0, 1, 2],
        "settings": [[16, 0.01], [32, 0.001]],
    }
    write_json({"stage": "x", "packs": {"0000": [entry, entry]}}, tmp_path / "plan.json")
    found, _ = read_pack(tmp_path / "plan.json", "0000")
    specs = next_fits(found, {})
    assert len(specs) == len(set(specs)) == found.fits == 12
    assert {s.combination for s in specs} == {("anemia", "stay")}


@pytest.mark.parametrize(
    ("plan", "pack", "kind", "message"),
    [
        ({"packs": {"0000": []}}, "0001", InputError, "no pack `0001`"),
        ({"stage": "x"}, "0000", ContractError, "no `packs`"),
        (
            {"packs": {"0000": [{"combination": ["anemia"]}]}},
            "0000",
            ContractError,
            "malformed: 'replicates'",
        ),
        ({"packs": {"0000": [3]}}, "0000", ContractError, "malformed"),
    ],
)
def test_a_wrong_plan_is_named(
    tmp_path: Path, plan: dict[str, Any], pack: str, kind: type[Exception], message: str
) -> None:
    write_json(plan, tmp_path / "plan.json")
    with pytest.raises(kind, match=re.escape(message)):
        read_pack(tmp_path / "plan.json", pack)


def test_labels_without_a_file_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    write_study(study(), tmp_path, {"0000": [{**ENTRY, "combination": ["unknown"]}]})
    with pytest.raises(InputError, match="does not exist"):
        run(tmp_path)
    assert not (tmp_path / "scores.parquet").exists()


def test_every_kind_of_task_is_learned() -> None:
    data = study(n=240, missing=False)
    results = run_fits(
        [spec("anemia", "organ", "phenotype", "stay", fold=-1, rate=5e-3)],
        data,
        settings(epochs=20, width=16),
        code="",
    )
    values = results[0].values
    assert values["anemia"] > 0.9
    assert values["organ"] > 0.9
    assert values["stay"] > 0.7
    assert values["phenotype"] > 0.05
    y = data.labels["stay"][~data.train]
    assert abs(float(results[0].predictions["stay"].mean() - y.mean())) < 1.0
    cluster = results[0].predictions["phenotype"][:, 0]
    assert set(cluster) <= {0.0, 1.0, 2.0}


@pytest.mark.parametrize("update", ["sum", "sequential"])
def test_every_precision_trains_to_about_the_same(update: str) -> None:
    data = study(n=120)
    epochs = 6 if update == "sum" else 2
    found = {}
    for precision in ("float64", "float32", "tf32", "bfloat16"):
        options = settings(precision=precision, update=update, epochs=epochs)
        (result,) = run_fits([spec("anemia", "organ", "phenotype", "stay")], data, options, code="")
        assert result.status == "ok"
        found[precision] = result
    assert len({result.key for result in found.values()}) == 4
    reference = found.pop("float64").predictions
    for precision, result in found.items():
        tolerance = {"bfloat16": 0.1}.get(precision, 0.01)
        for task in ("anemia", "organ"):
            np.testing.assert_allclose(result.predictions[task], reference[task], atol=tolerance)
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_single_modality_has_no_contrastive_term() -> None:
    data = study(widths={"alpha": 6})
    (result,) = run_fits([spec("anemia", "stay")], data, settings(modalities=["alpha"]), code="")
    assert result.status == "ok"


def test_networks_of_the_users_own_train() -> None:
    data = study()
    for encoder in ("tests.model.test_layers.Gated", "tests.model.test_layers.Residual"):
        own = settings(encoder=encoder, model={"task_network": encoder}, epochs=2)
        specs = [spec("anemia", "stay"), spec("sepsis", "stay"), spec("anemia", "stay", replicate=1)]
        together = run_fits(specs, data, own, code="")
        assert all(result.status == "ok" for result in together)
        alone = run_fits(specs[2:], data, own, code="")
        tolerance = 1e-3 if PRECISION == "float32" else 1e-9
        np.testing.assert_allclose(
            alone[0].predictions["stay"], together[2].predictions["stay"], atol=tolerance
        )


def test_a_class_of_the_users_own_trains() -> None:
    data = study()
    name = "tests.model.test_heads.Poisson"
    data.tasks["size"] = {**TASKS["size"], "id": "size", "problem_class": name}
    data.labels["size"] = np.abs(np.round(data.labels["size"] / 4))
    (result,) = run_fits([spec("anemia", "size")], data, settings(), code="")
    assert result.status == "ok"
    assert (result.predictions["size"] > 0).all()


def test_progress_is_reported() -> None:
    stream = io.StringIO()
    run_fits([spec("anemia"), spec("sepsis")], study(), settings(), progress=stream, code="")
    assert "2 of 2 fits" in stream.getvalue()


def test_cuda_without_a_gpu_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    config = settings()
    asked = config.compute.model_copy(update={"device": "cuda"})
    with pytest.raises(ConfigError, match="no GPU"):
        run_fits([spec("anemia")], study(), type(config)(**{**vars(config), "compute": asked}), code="")
