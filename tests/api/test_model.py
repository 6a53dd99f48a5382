"""A model on data frames: what it learns, what it predicts, and what it does not depend on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import cross_val_score

from m3h_pipeline import MultitaskModel
from m3h_pipeline.api.frames import feature_values
from m3h_pipeline.config import Study, validate
from m3h_pipeline.contracts import SPLIT, samples_schema
from m3h_pipeline.errors import ConfigError, InputError, M3HError, TaskError
from m3h_pipeline.files import read_json, write_features, write_json, write_labels, write_table
from m3h_pipeline.training.fitted import FittedModel, load_model
from m3h_pipeline.training.pack import train_pack
from m3h_pipeline.training.spec import TrainingSettings
from tests.api.frames import MODALITIES, QUICK, TASKS, model, ward

Predicted = dict[str, npt.NDArray[np.float64]]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return ward()


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> MultitaskModel:
    return model().fit(frame, groups="patient")


def everything(model: MultitaskModel, frame: pd.DataFrame, **options: Any) -> Predicted:
    """All numbers that a model gives for each row."""
    found = {name: table.to_numpy() for name, table in model.predict_proba(frame, **options).items()}
    found |= {f"{name} curve": t.to_numpy() for name, t in model.predict_survival(frame, **options).items()}
    values = model.predict(frame, **options)
    return found | {name: values[name].to_numpy() for name in ("days", "relapse") if name in values}


def same(a: Predicted, b: Predicted) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_it_has_the_habits_of_scikit_learn(frame: pd.DataFrame) -> None:
    one = model()
    assert set(one.get_params()) == {"modalities", "tasks", "recipe", "settings", "replicates", "seed"}
    twin = clone(one)
    assert twin is not one
    assert twin.get_params() == one.get_params()
    assert one.set_params(seed=5).seed == 5
    with pytest.raises(NotFittedError, match="not fitted yet"):
        one.predict(frame)
    assert one.fit(frame, groups="patient") is one
    assert not hasattr(clone(one), "classes_")
    with pytest.raises(NotFittedError):
        clone(one).save("nowhere")


def test_what_is_known_after_a_fit(fitted: MultitaskModel) -> None:
    assert fitted.feature_names_in_.tolist() == [*MODALITIES["labs"], "ward", "age", *MODALITIES["vitals"]]
    assert fitted.n_features_in_ == 7
    assert fitted.features_["stay"] == ["ward=Cardiology", "ward=Surgery", "age"]
    assert {name: list(classes) for name, classes in fitted.classes_.items()} == {
        "died": [0, 1],
        "stage": ["I", "II", "III"],
    }
    assert len(fitted.n_iter_) == 2


def test_what_is_predicted(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    values, likely = fitted.predict(frame), fitted.predict_proba(frame)
    assert values.columns.tolist() == ["days", "died", "relapse", "stage"]
    assert values.index.equals(frame.index)
    assert set(likely) == {"died", "stage"}
    for name, table in likely.items():
        assert table.to_numpy().sum(1) == pytest.approx(1, abs=1e-6)
        assert (table.columns[table.to_numpy().argmax(1)] == values[name]).all()
    curves = fitted.predict_survival(frame)["relapse"]
    assert curves.columns.is_unique
    assert curves.columns.is_monotonic_increasing
    assert (np.diff(curves.to_numpy(), axis=1) <= 1e-6).all()


def test_scores_are_those_of_scikit_learn(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    scores, seen = fitted.scores(frame), frame["died"].notna()
    likely, values = fitted.predict_proba(frame), fitted.predict(frame)
    assert scores["died"] == pytest.approx(roc_auc_score(frame["died"][seen], likely["died"][1][seen]))
    assert scores["days"] == pytest.approx(r2_score(frame["days"].astype(np.float32), values["days"]))
    macro = roc_auc_score(frame["stage"], likely["stage"], multi_class="ovr")
    assert scores["stage"] == pytest.approx(macro, abs=1e-6)
    assert fitted.score(frame) == pytest.approx(scores.mean())
    apart = fitted.scores(
        frame[list(fitted.feature_names_in_)], frame[["died", "stage", "days", "time", "event"]]
    )
    assert apart.equals(scores)


def test_orders_and_other_rows_change_nothing(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    known = everything(fitted, frame)
    order = np.random.default_rng(3).permutation(len(frame))
    shuffled = frame.iloc[order][frame.columns[::-1]]
    assert same(everything(fitted, shuffled), {name: x[order] for name, x in known.items()})
    for i in range(0, len(frame), 23):
        alone = everything(fitted, frame.iloc[[i]])
        assert same(alone, {name: x[[i]] for name, x in known.items()})
    # Nor does the fit know an order of its rows or columns.
    again = model().fit(shuffled, groups="patient")
    assert same(everything(again, frame), known)
    assert not same(everything(model(seed=1).fit(frame, groups="patient"), frame), known)


def test_rows_that_are_alike_have_an_order_too(frame: pd.DataFrame) -> None:
    # The same values in other patients: who is set aside must not depend on who came first.
    twice = pd.concat([frame, frame.assign(patient="q" + frame["patient"])], ignore_index=True)
    order = np.random.default_rng(4).permutation(len(twice))
    groups = [model().training_rows(one, None, "patient").groups for one in (twice, twice.iloc[order])]
    assert groups[0] == groups[1]


def test_other_wards_move_nobody_else(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    known = everything(fitted, frame)
    others = frame["ward"] != "Cardiology"
    renamed = frame.assign(ward=frame["ward"].replace("Cardiology", "Zoo"))
    found = everything(fitted, renamed)
    for name, x in known.items():
        assert np.array_equal(found[name][others], x[others])
        assert not np.array_equal(found[name][~others], x[~others])
    # A ward never seen is "other": none of those known.
    monkeys = everything(fitted, frame.assign(ward=frame["ward"].replace("Cardiology", "Monkeys")))
    assert same(monkeys, found)


def test_rare_categories_are_one(frame: pd.DataFrame) -> None:
    few = frame.assign(ward=frame["ward"].where(frame.index >= 44, [f"w{i // 4}" for i in range(len(frame))]))
    learned = model(tasks={"died": "binary"}, replicates=1).fit(few, groups="patient")
    assert learned.features_["stay"] == ["ward=Cardiology", "ward=Surgery", "ward=other", "age"]
    new = [few.assign(ward=ward) for ward in ("w1", "never seen")]
    assert same(everything(learned, new[0]), everything(learned, new[1]))


def test_blanks_around_a_category_say_nothing(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    padded = frame.assign(ward=frame["ward"] + " ")
    assert same(everything(fitted, padded), everything(fitted, frame))
    assert model(tasks={"died": "binary"}, replicates=1).fit(padded).features_ == fitted.features_
    blank = frame.assign(ward=" ", age=" ")
    assert same(everything(fitted, blank), everything(fitted, frame.assign(ward=None, age=None)))


def test_an_absent_modality(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    without = frame.assign(pulse=np.nan, pressure=np.nan)
    found = everything(fitted, frame.drop(columns=["pulse", "pressure"]), absent=["vitals"])
    assert same(found, everything(fitted, without))
    assert all(np.isfinite(x).all() for x in found.values())
    assert not same(found, everything(fitted, frame))
    with pytest.raises(InputError, match="did you mean `vitals`"):
        fitted.predict(frame, absent=["vital"])
    with pytest.raises(InputError, match="every modality is absent"):
        fitted.predict(frame, absent=["vitals", "labs", "stay"])


def test_a_fit_is_that_of_the_pipeline(frame: pd.DataFrame, tmp_path: Path) -> None:
    """The same rows as a study's training part, with a test part of its own, through the stage's verb."""
    settings = {**QUICK, "compute": {"precision": "float64", "device": "cpu"}}
    one = model(settings=settings).fit(frame, groups="patient")
    rows = one.training_rows(None, None, None)
    cohort, labels, extra = tmp_path / "cohort", tmp_path / "labels", 20
    for name, x in rows.features.items():
        names = one.features_[name]
        write_features(np.concatenate([x, x[:extra] + 1]), names, cohort / "features" / f"{name}.parquet")
    for name, y in rows.labels.items():
        write_labels(np.append(y, y[:extra]), labels / f"{name}.parquet", rows.outcomes[name].description)
    n = rows.n + extra
    ids, people = [f"s{i:04d}" for i in range(n)], [*rows.groups, *[f"q{i}" for i in range(extra)]]
    schema = samples_schema([])
    columns = {"sample_id": ids, "patient_id": people, "stay_id": [None] * n}
    write_table(pa.table(columns, schema=schema), cohort / "samples.parquet", schema)
    parts = {
        "sample_id": ids,
        "part": ["train"] * rows.n + ["test"] * extra,
        "fold": [0] * rows.n + [-1] * extra,
    }
    write_table(pa.table(parts, schema=SPLIT), tmp_path / "split.parquet", SPLIT)
    study = validate(
        Study,
        {
            "study": "ward",
            "source": {
                "kind": "table",
                "files": [{"path": "ward.csv", "id": "id"}],
                "blocks": {name: {"columns": columns} for name, columns in MODALITIES.items()},
            },
            "modalities": {name: {"sources": [name]} for name in MODALITIES},
            **settings,
        },
        "study",
    )
    (batch,), (rate,) = study.training.batch_sizes, study.training.learning_rates
    entry = {
        "combination": sorted(TASKS),
        "replicates": [0, 1],
        "folds": [-1],
        "settings": [[batch, rate]],
    }
    write_json({"stage": "final", "packs": {"0": [entry]}}, tmp_path / "plan.json")
    train_pack(
        tmp_path / "plan.json",
        "0",
        cohort,
        labels,
        tmp_path / "split.parquet",
        tmp_path / "store",
        tmp_path / "scores.parquet",
        tmp_path / "predictions.parquet",
        TrainingSettings(study.model, study.training, study.compute, study.modalities, study.seed),
        models=tmp_path / "models",
    )
    pipeline = [load_model(path) for path in sorted((tmp_path / "models").iterdir())]
    assert len(pipeline) == 2
    # Files are named by their content, in no order of replicates.
    for ours in one._networks:
        theirs = min(pipeline, key=lambda known: _apart(known, ours))
        assert _apart(theirs, ours) < 1e-9
        predicted = [known.predict(rows.features) for known in (ours, theirs)]
        for task in TASKS:
            assert predicted[0][task] == pytest.approx(predicted[1][task], abs=1e-6)


def _apart(a: FittedModel, b: FittedModel) -> float:
    """The largest difference of two networks' parameters."""
    pairs = zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True)
    return max(float((x - y).abs().max()) for x, y in pairs)


def test_replicates_are_averaged(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    features = {name: feature_values(frame, columns) for name, columns in fitted._known.columns.items()}
    one, two = (network.predict(features)["days"][:, 0].astype(float) for network in fitted._networks)
    assert not np.array_equal(one, two)
    assert np.array_equal(fitted.predict(frame)["days"], (one + two) / 2)
    # The first replicate is the same, however many there are.
    single = model(replicates=1).fit(frame, groups="patient")
    assert np.array_equal(single.predict(frame)["days"], one)


def test_patients_stay_together(frame: pd.DataFrame) -> None:
    rows = model().training_rows(frame, None, "patient")
    assert len(np.unique(rows.patient)) == frame["patient"].nunique()
    listed = model().training_rows(frame, None, frame["patient"].tolist())
    assert listed.groups == rows.groups
    assert len(set(model().training_rows(frame, None, None).groups)) == len(frame)
    with pytest.raises(InputError, match="159 groups for 160 rows"):
        model().fit(frame, groups=frame["patient"].tolist()[1:])
    with pytest.raises(InputError, match="a row has no group"):
        model().fit(frame.assign(patient=frame["patient"].where(frame.index > 0)), groups="patient")


def test_clusters(frame: pd.DataFrame) -> None:
    tasks = {"died": "binary", "kind": {"class": "clustering", "clusters": 3}}
    one = model(tasks=tasks).fit(frame)
    assert set(one.predict(frame)["kind"]) <= {0, 1, 2}
    assert np.isfinite(one.scores(frame)["kind"])
    assert "kind" not in one.predict_proba(frame)


def test_classes_keep_what_they_are(frame: pd.DataFrame) -> None:
    numbered = frame.assign(stage=frame["stage"].map({"I": 10.0, "II": 20.0, "III": np.nan}))
    one = model(tasks={"stage": "multiclass"}, replicates=1).fit(numbered)
    assert one.classes_["stage"].tolist() == [10, 20]
    assert set(one.predict(frame)["stage"]) <= {10, 20}


def test_scikit_learn_divides_its_rows(frame: pd.DataFrame) -> None:
    one = model(tasks={"died": "binary"}, replicates=1)
    scores = cross_val_score(one, frame, cv=3)
    third = len(frame) // 3 + 1
    by_hand = clone(one).fit(frame.iloc[third:]).score(frame.iloc[:third])
    assert scores.shape == (3,)
    assert scores[0] == by_hand


def test_types_that_know_missing_values(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    typed = frame.assign(
        died=frame["died"].astype("boolean"),
        event=frame["event"].astype(bool),
        ward=frame["ward"].astype("string"),
        stage=frame["stage"].astype("category"),
        days=frame["days"].astype("Float64"),
    )
    assert same(everything(model().fit(typed, groups="patient"), typed), everything(fitted, frame))


def test_on_disk(fitted: MultitaskModel, frame: pd.DataFrame, tmp_path: Path) -> None:
    fitted.save(tmp_path / "ward")
    again = MultitaskModel.load(tmp_path / "ward")
    assert same(everything(again, frame), everything(fitted, frame))
    assert again.get_params() == fitted.get_params()
    assert again.classes_.keys() == fitted.classes_.keys()
    assert sorted(path.name for path in (tmp_path / "ward").iterdir()) == [
        "model.json",
        "replicate_0.safetensors",
        "replicate_1.safetensors",
    ]
    # No patient is in it, on disk or in a copy.
    held = b"".join(path.read_bytes() for path in (tmp_path / "ward").iterdir())
    assert b"p000" not in held
    for one in (again, copy.deepcopy(fitted)):
        with pytest.raises(InputError, match="does not have the rows"):
            one.training_rows(None, None, None)
    description = tmp_path / "ward" / "model.json"
    content = read_json(description)
    write_json({**content, "format": 2}, description)
    with pytest.raises(InputError, match="has format 2; this version of the package reads format 1"):
        MultitaskModel.load(tmp_path / "ward")
    write_json(content, description, sort_keys=False)
    weights = tmp_path / "ward" / "replicate_1.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(InputError, match="replicate_1"):
        MultitaskModel.load(tmp_path / "ward")
    with pytest.raises(InputError, match="does not exist"):
        MultitaskModel.load(tmp_path / "nowhere")


def test_missing_columns_are_all_named(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    with pytest.raises(InputError) as caught:
        fitted.predict(frame.rename(columns={"urea": "Urea", "pulse": "x", "ward": "y"}))
    assert caught.value.what == "3 column(s) are missing: `urea`, `ward`, `pulse`"
    assert "`urea`: did you mean `Urea`?" in str(caught.value.hint)


def test_other_types_are_all_named(fitted: MultitaskModel, frame: pd.DataFrame) -> None:
    wrong = frame.assign(pulse=frame["pulse"].map("{} bpm".format), ward=1, age=pd.Timestamp("1950-01-01"))
    with pytest.raises(InputError) as caught:
        fitted.predict(wrong)
    assert caught.value.what == (
        "columns have another type than in training: "
        "`ward` holds numbers, where the model knows text or categories, "
        "`age` holds dates, where the model knows numbers, "
        "`pulse` holds text or categories, where the model knows numbers"
    )
    mixed: Any = ["a", 1] * (len(frame) // 2)
    with pytest.raises(InputError, match="`urea` holds numbers and text, `pulse` holds dates"):
        model().fit(frame.assign(urea=mixed, pulse=pd.Timestamp("1950-01-01")))


def test_a_column_that_is_wholly_missing_is_of_every_type(
    fitted: MultitaskModel, frame: pd.DataFrame
) -> None:
    nothings: tuple[Any, ...] = (None, np.nan, pd.NA)
    for nothing in nothings:
        empty = frame.assign(ward=nothing, age=nothing)
        assert all(np.isfinite(x).all() for x in everything(fitted, empty).values())
    nullable = frame.assign(age=frame["age"].astype("Int64"), ward=frame["ward"].astype("category"))
    assert same(everything(fitted, nullable), everything(fitted, frame))


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"tasks": {}}, TaskError, "at least one task"),
        ({"tasks": {"died": "binry"}}, TaskError, "did you mean `binary`"),
        ({"tasks": {"Died (28 d)": "binary"}}, TaskError, "begins with a letter"),
        ({"tasks": {"died": {"class": "binary", "colum": "died"}}}, TaskError, "did you mean `column`"),
        ({"tasks": {"relapse": "survival"}}, TaskError, "names its columns `time` and `event`"),
        ({"tasks": {"days": "binary"}}, TaskError, "neither 0 nor 1"),
        ({"tasks": {"stage": "binary"}}, TaskError, "column `stage` holds text, not numbers"),
        ({"tasks": {"stage": "regression"}}, TaskError, "column `stage` holds text, not numbers"),
        (
            {"tasks": {"r": {"class": "survival", "time": "days", "event": "event"}}},
            TaskError,
            "are negative",
        ),
        ({"tasks": {"urea": "regression"}}, ConfigError, "is an outcome of `urea` and a feature of `labs`"),
        ({"tasks": {"dead": "binary"}}, InputError, "1 column.s. are missing: `dead`"),
        ({"modalities": {"labs": "urea"}}, ConfigError, "a modality is a list of columns"),
        ({"modalities": {}}, ConfigError, "at least one modality"),
        ({"modalities": {"a": ["urea"], "b": ["urea"]}}, ConfigError, "stands in `a` and `b`"),
        ({"modalities": {"labs": ["urea", "patient"]}}, ConfigError, "says whose the rows are"),
        ({"modalities": {"labs": ["urea", "when"]}}, InputError, "`when` holds dates"),
        ({"modalities": {"labs": ["urea", "mixed"]}}, InputError, "`mixed` holds numbers and text"),
        ({"modalities": {"labs": ["urea", "endless"]}}, InputError, "1 infinite value"),
        ({"recipe": "defalt"}, ConfigError, "did you mean `default`"),
        ({"settings": {"modle": {}}}, ConfigError, "did you mean `model`"),
        ({"settings": {"model": {"encodr": [8]}}}, ConfigError, "encoder"),
        ({"settings": {"modalities": {"lab": {}}}}, ConfigError, "did you mean `labs`"),
        ({"settings": {"training": {"learning_rates": [1e-3, 1e-2]}}}, ConfigError, "chooses between none"),
        ({"replicates": 0}, ConfigError, "`replicates` is a whole number from 1 on"),
    ],
)
def test_mistakes_are_told(
    frame: pd.DataFrame, changes: dict[str, Any], error: type[M3HError], says: str
) -> None:
    spoiled = frame.assign(
        days=frame["days"] - 10,
        when=pd.Timestamp("2024-05-01"),
        mixed=[1, "a"] * (len(frame) // 2),
        endless=[np.inf, *range(len(frame) - 1)],
    )
    with pytest.raises(error, match=says):
        model(**{"tasks": {"died": "binary"}, **changes}).fit(spoiled, groups="patient")


def test_frames_are_asked_for(frame: pd.DataFrame, fitted: MultitaskModel) -> None:
    with pytest.raises(InputError, match="must be a pandas DataFrame"):
        model().fit(frame.to_numpy())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="two columns named `urea`"):
        fitted.predict(pd.concat([frame, frame[["urea"]]], axis=1))
    with pytest.raises(InputError, match="has no rows"):
        fitted.predict(frame.head(0))
    with pytest.raises(InputError, match="`y` has 2 rows, `X` 160"):
        model().fit(frame, frame.head(2))
    moved = frame.sample(frac=1, random_state=0)
    for y, groups in (
        (moved, None),
        (frame.set_axis(range(7, 7 + len(frame))), None),
        (None, moved["patient"]),
    ):
        with pytest.raises(InputError, match="has another index than `X`, or in another order"):
            model().fit(frame, y, groups)
    with pytest.raises(InputError, match="has another index than `X`, or in another order"):
        fitted.scores(frame, moved)
    with pytest.raises(InputError, match=r"`absent` is a list of names.*\n.*\['vitals'\]"):
        fitted.predict(frame, absent="vitals")
    with pytest.raises(TaskError, match="no class that was learned, `IV` for one"):
        fitted.scores(frame.assign(stage="IV"))
    with pytest.raises(TaskError, match="there is nothing to tell apart"):
        model().fit(frame.assign(died=0.0))
    with pytest.raises(TaskError, match="no label is observed"):
        model().fit(frame.assign(days=np.nan))
