"""A bundle predicts data frames as `m3h predict` does files, and names them as they were given."""

from __future__ import annotations

import io
import itertools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, roc_auc_score

import m3h_pipeline as m3h
from m3h_pipeline.api.bundles import LoadedBundle
from m3h_pipeline.api.study import Results
from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.cli import main
from m3h_pipeline.errors import InputError
from tests.bundle.studies import Finished


@pytest.fixture(scope="module")
def loaded(bundle: Bundle) -> LoadedBundle:
    return m3h.load_bundle(bundle.folder)


def said(loaded: LoadedBundle, frame: pd.DataFrame) -> pd.DataFrame:
    return loaded.predict({"patients": frame}, progress=io.StringIO())


def test_what_it_says_of_itself(loaded: LoadedBundle) -> None:
    assert set(loaded.tasks) == {"death", "grade", "kind", "sick", "stay"}
    assert loaded.sources["lab"] == ["b0", "b1", "b2"]
    assert loaded.card.startswith("# ")
    assert repr(loaded).startswith("LoadedBundle(")
    with pytest.raises(InputError, match=r"holds no bundle\.json"):
        m3h.load_bundle("nowhere")


def test_frames_are_predicted_as_files(loaded: LoadedBundle, finished: Finished, tmp_path: Path) -> None:
    file, out = tmp_path / "patients.csv", tmp_path / "out.parquet"
    finished.table.to_csv(file, index=False)
    assert main(["predict", str(loaded.bundle.folder), str(file), "--out", str(out)]) == 0
    written = pd.read_parquet(out)
    # Numbers that travelled through text are the same to the bit.
    for data in ({"patients": pd.read_csv(file)}, [file], file):
        pd.testing.assert_frame_equal(loaded.predict(data, progress=io.StringIO()), written, check_exact=True)
    drift = loaded.drift({"patients": finished.table}, progress=io.StringIO())
    pd.testing.assert_frame_equal(drift, pd.read_csv(tmp_path / "out.drift.csv"))


def test_a_study_has_its_own_predictions(finished: Finished) -> None:
    """Scored by scikit-learn they give the evaluation's numbers, of several classes too."""
    results = Results(finished.whole.folder)
    known, scores = results.predictions, results.evaluation.set_index("task")
    assert set(known["output"][known["task"] == "kind"]) == {"cluster", "silhouette"}
    assert known["output"][known["task"] == "death"].iloc[0] == "risk"
    test = known[(known["part"] == "test") & known["observed"].notna()]
    for task, model in itertools.product(("sick", "grade", "stay"), ("multi", "single")):
        one = test[(test["task"] == task) & (test["model"] == model)]
        wide = one.pivot(index="sample_id", columns="output", values="prediction")
        y = one.drop_duplicates("sample_id").set_index("sample_id")["observed"].loc[wide.index]
        if task == "stay":
            found = r2_score(y, wide["value"])
        else:
            outputs = ["mild", "severe", "worst"] if task == "grade" else [None, "probability"]
            found = np.mean([roc_auc_score(y == i, wide[c]) for i, c in enumerate(outputs) if c])
        assert found == pytest.approx(scores[model][task], abs=1e-6)


def test_orders_and_other_rows_change_nothing(loaded: LoadedBundle, finished: Finished) -> None:
    known = said(loaded, finished.table).set_index("sample_id")
    order = np.random.default_rng(5).permutation(len(finished.table))
    shuffled = finished.table.iloc[order][finished.table.columns[::-1]].set_index("sample")
    pd.testing.assert_frame_equal(
        said(loaded, shuffled).set_index("sample_id").loc[known.index], known, check_exact=True
    )
    alone = said(loaded, finished.table.iloc[[7]]).set_index("sample_id")
    pd.testing.assert_frame_equal(alone, known.iloc[[7]], check_exact=True)
    typed = finished.table.astype({"sex": "category", "diag": "category"})
    pd.testing.assert_frame_equal(said(loaded, typed).set_index("sample_id"), known, check_exact=True)


def test_some_tasks_and_no_outcomes(loaded: LoadedBundle, finished: Finished) -> None:
    features = finished.table[["sample", "age", "diag", "sex", "b0", "b1", "b2"]]
    found = loaded.predict({"new": features}, ["sick"], contributions=True, progress=io.StringIO())
    assert {"sample_id", "sick", "sick.raw", "flags"} <= set(found)
    assert not any(str(name).startswith("stay") for name in found)
    assert found["sick"].equals(said(loaded, finished.table)["sick"])


def test_mistakes_are_told_of_frames_by_their_names(loaded: LoadedBundle, finished: Finished) -> None:
    table = finished.table
    with pytest.raises(InputError) as caught:
        said(loaded, table.rename(columns={"age": "Age", "b0": "x"}))
    assert "column `b0`, of source `lab`, is absent" in str(caught.value)
    assert "is `Age` meant for `age`?" in str(caught.value)
    with pytest.raises(InputError) as caught:
        said(loaded, table.assign(age="old"))
    assert str(caught.value.where).startswith("patients")
    assert "/" not in str(caught.value)
    with pytest.raises(InputError, match="`b1` holds numbers and text"):
        said(loaded, table.assign(b1=pd.Series([1, "a"] * (len(table) // 2), dtype=object)))
    with pytest.raises(InputError, match="must be a pandas DataFrame"):
        loaded.predict({"patients": table.to_numpy()})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="`absent` is a list of names"):
        loaded.predict({"patients": table}, absent="lab")
    with pytest.raises(InputError, match="`tasks` is a list of names"):
        loaded.predict({"patients": table}, "sick")
    with pytest.raises(InputError, match="a frame is given by a name"):
        loaded.predict(table)  # type: ignore[arg-type]


def test_a_wide_frame_is_no_matter_for_warnings(loaded: LoadedBundle, finished: Finished) -> None:
    more = pd.DataFrame({f"more{i}": "" for i in range(120)}, index=finished.table.index)
    text = pd.concat([finished.table, more], axis=1).to_csv(index=False)
    wide = pd.read_csv(io.StringIO(text)).set_index("sample")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.PerformanceWarning)
        said(loaded, wide)
