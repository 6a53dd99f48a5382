"""Features of real stays against a slow computation, and that nothing later than a sample enters them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.mimic import events as events_module
from m3h_pipeline.cohort.mimic import ingest as ingest_module
from m3h_pipeline.cohort.mimic.database import database
from m3h_pipeline.cohort.mimic.ingest import ingest_mimic
from m3h_pipeline.config import MimicSource
from m3h_pipeline.config.mimic import CHEXPERT
from m3h_pipeline.files import read_features, read_samples, read_table
from tests.cohort.mimic.conftest import text, write
from tests.cohort.mimic.reference import Reference

SERIES = ["ts_chart", "ts_lab", "ts_procedure"]
ALL = ["demographics", *SERIES]
pytestmark = pytest.mark.real_data


def build(folder: Path, out: Path, **settings: Any) -> dict[str, Float32Array]:
    """Ingest, and return every source's features."""
    ingest_mimic(MimicSource(folder=str(folder), **settings), ALL, out, stream=io.StringIO())
    return {name: read_features(out / f"features/{name}.parquet")[0] for name in ALL}


def same(a: dict[str, Float32Array], b: dict[str, Float32Array], rows: Any = slice(None)) -> bool:
    return all(np.array_equal(a[name][rows], b[name][rows], equal_nan=True) for name in ALL)


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_features_equal_a_slow_computation(variant: str, demo: Path, tmp_path: Path) -> None:
    found = build(demo, tmp_path, variant=variant, samples="every", hours=36, max_per_stay=2)
    samples = read_samples(tmp_path / "samples.parquet").to_pandas()
    reference = Reference(demo, variant)
    start = reference.stays.set_index("stay_id").intime
    stays = samples.stay_id.drop_duplicates().sample(30, random_state=0)
    rows = samples.index[samples.stay_id.isin(stays)]
    assert len(rows) > 40
    for row in rows:
        stay = int(samples.stay_id[row])
        time = start[stay] + pd.Timedelta(hours=36 * int(samples.sample_id[row].rpartition("-")[2]))
        for name in SERIES:
            expected = reference.features(name, stay, time)
            np.testing.assert_allclose(
                found[name][row], expected, rtol=1e-6, atol=1e-6, err_msg=f"{name}, row {row}"
            )
    # The test would pass on empty features.
    for name in SERIES:
        assert np.abs(np.nan_to_num(found[name][rows])).sum() > 0


def test_demographics_of_both_variants(demo: Path, tmp_path: Path) -> None:
    published = build(demo, tmp_path / "a", variant="published")["demographics"]
    corrected = build(demo, tmp_path / "b")["demographics"]
    samples = read_samples(tmp_path / "a/samples.parquet").to_pandas()
    people = text(demo, "hosp/admissions").merge(text(demo, "hosp/patients"), on="subject_id")
    stays = text(demo, "icu/icustays")[["stay_id", "hadm_id"]]
    core = samples.merge(stays, on="stay_id", validate="1:1").merge(people, on="hadm_id", validate="m:1")
    expected = [core.anchor_age.astype(float)]
    for column in ("gender", "race", "marital_status", "language", "insurance"):
        # As the published code: the categories of the whole file, sorted, missing -1.
        values = sorted(set(people[column]) - {""})
        expected.append(
            pd.Series(pd.Categorical(core[column].replace("", None), categories=values).codes, dtype=float)
        )
    np.testing.assert_array_equal(published, np.stack(expected, axis=1).astype(np.float32))
    np.testing.assert_array_equal(corrected[:, :2], published[:, :2])
    white = core.race.str.startswith("WHITE") | (core.race == "PORTUGUESE")
    np.testing.assert_array_equal(corrected[:, 2] == 5, white)
    np.testing.assert_array_equal(np.isnan(corrected[:, 3]), core.marital_status == "")
    np.testing.assert_array_equal(corrected[:, 4] == 0, core.language == "ENGLISH")


def test_corrected_codes_do_not_depend_on_the_rest_of_the_file(
    tenth: Path, demo: Path, tmp_path: Path
) -> None:
    part, whole = build(tenth, tmp_path / "a"), build(demo, tmp_path / "b")
    names = [read_samples(tmp_path / f"{x}/samples.parquet")["sample_id"].to_pylist() for x in "ab"]
    rows = [names[1].index(name) for name in names[0]]
    assert same(part, {name: x[rows] for name, x in whole.items()})


@pytest.mark.parametrize("form", ["shuffled", "plain"])
def test_neither_row_order_nor_compression_changes_a_feature(
    form: str, tenth: Path, own: Path, tmp_path: Path
) -> None:
    for name in ("icu/chartevents", "hosp/labevents", "icu/procedureevents", "icu/icustays"):
        table = text(own, name)
        if form == "shuffled":
            write(table.sample(frac=1, random_state=1), own / f"{name}.csv.gz")
        else:
            (own / f"{name}.csv.gz").unlink()
            table.to_csv(own / f"{name}.csv", index=False)
    assert same(build(own, tmp_path / "a"), build(tenth, tmp_path / "b"))


def spoil(folder: Path, variant: str, k: int, hours: int) -> int:
    """Change every event that is known only after the ``k``-th sample of its stay; how many there were."""
    stays = text(folder, "icu/icustays")
    stays["t"] = pd.to_datetime(stays.intime) + pd.Timedelta(hours=k * hours)
    changed = 0
    for name, key, when, value in (
        ("icu/chartevents", "stay_id", "charttime", "valuenum"),
        ("hosp/labevents", "hadm_id", "charttime", "valuenum"),
        ("icu/procedureevents", "stay_id", "storetime", "value"),
    ):
        table = text(folder, name)
        sample = table[key].map(stays.groupby(key).t.max())
        known = pd.to_datetime(table[when], format="ISO8601")
        if variant == "corrected":
            for other in ("storetime", "endtime"):
                if other in table:
                    time = pd.to_datetime(table[other], format="ISO8601")
                    # Without a time of storage nobody can say that it was known in time.
                    known = np.maximum(known, time.fillna(pd.Timestamp.max.floor("s")))  # type: ignore[assignment]
            later = known >= sample
        else:
            later = known > sample
        later &= sample.notna()
        old = pd.to_numeric(table.loc[later, value], errors="coerce").fillna(0.0)
        table.loc[later, value] = (3 * old + 7).astype(str)
        # An event that was deleted and one that was added are changes, too.
        table = pd.concat([table.drop(table.index[later][::5]), table[later].iloc[::7]])
        write(table, folder / f"{name}.csv.gz")
        changed += int(later.sum())
    return changed


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_no_feature_changes_when_all_later_events_do(
    variant: str, tenth: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"variant": variant, "samples": "every", "hours": 12}
    before = build(tenth, tmp_path / "a", **settings)
    ids = read_samples(tmp_path / "a/samples.parquet")["sample_id"].to_pylist()
    early = [i for i, name in enumerate(ids) if int(name.rpartition("-")[2]) <= 2]
    assert 10 < len(early) < len(ids)
    assert spoil(own, variant, k=2, hours=12) > 1000
    after = build(own, tmp_path / "b", **settings)
    assert same(before, after, early)
    # Later samples see what was changed, so the change is one that features show.
    assert not same(before, after)
    # One who looks an hour ahead is caught.
    honest: Callable[..., Float32Array] = events_module.block_features

    def leaky(db: Any, events: Any, source: Any, samples: Any, block: slice) -> Float32Array:
        ahead = type(samples)(**{**vars(samples), "time": samples.time + 3_600_000_000})
        return honest(db, events, source, ahead, block)

    monkeypatch.setattr(ingest_module, "block_features", leaky)
    assert not same(build(tenth, tmp_path / "c", **settings), build(own, tmp_path / "d", **settings), early)


def test_an_event_is_known_when_it_is_stored(own: Path, tmp_path: Path) -> None:
    table = text(own, "hosp/labevents")
    table["storetime"] = ""
    write(table, own / "hosp/labevents.csv.gz")
    assert np.isnan(build(own, tmp_path / "a")["ts_lab"]).all()
    assert build(own, tmp_path / "b", variant="published")["ts_lab"].any()
    summary = ingest_mimic(MimicSource(folder=str(own)), ALL, tmp_path / "c", stream=io.StringIO())
    assert summary["events"]["hosp/labevents"]["undated"] > 100


def test_blocks_and_memory_change_nothing(
    tenth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"samples": "every", "hours": 12}
    whole = build(tenth, tmp_path / "a", **settings)
    monkeypatch.setattr(events_module, "AT_A_TIME", 500)
    spill, seen = tmp_path / "spill", []

    @contextmanager
    def opened(folder: Path, memory_gb: float) -> Iterator[Any]:
        seen.append(folder.parent)
        with database(folder, memory_gb) as db:
            yield db

    monkeypatch.setattr(ingest_module, "database", opened)
    assert same(whole, build(tenth, tmp_path / "b", memory_gb=0.2, temp=str(spill), **settings))
    assert seen == [spill]
    assert not spill.exists()
    assert (tmp_path / "a/summary.json").read_text() == (tmp_path / "b/summary.json").read_text()


def test_a_sample_per_image(own: Path, tmp_path: Path) -> None:
    stays = text(own, "icu/icustays")
    rows = []
    for i, stay in stays.iterrows():
        start = pd.to_datetime(stay.intime)
        # One within the stay, one (to the second the same minute) a little later, one before it.
        for j, hours in enumerate((30.0, 30.004, -30.0)):
            taken = start + pd.Timedelta(hours=hours)
            rows.append(
                {
                    "dicom_id": f"d{i}{j}",
                    "subject_id": stay.subject_id,
                    "study_id": str(1000 + 10 * int(str(i)) + j),
                    "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)",
                    "ViewPosition": "AP",
                    "StudyDate": taken.strftime("%Y%m%d"),
                    # As distributed: seconds with a fraction, without leading zeros.
                    "StudyTime": str(float(taken.strftime("%H%M%S")) + 0.5),
                }
            )
    images = pd.DataFrame(rows)
    write(images, own / "mimic-cxr-2.0.0-metadata.csv.gz")
    found = images[["subject_id", "study_id"]].iloc[::2].copy()
    for name in CHEXPERT:
        found[name] = ""
    found["Pneumonia"] = "-1.0"
    write(found, own / "mimic-cxr-2.0.0-chexpert.csv.gz")
    long = pd.to_numeric(stays.los) > 31 / 24
    build(own, tmp_path / "out", samples="per_image", cxr=str(own))
    samples = read_samples(tmp_path / "out/samples.parquet").to_pandas()
    inside = samples[samples.stay_id.isin(stays.stay_id[long])]
    assert (inside.groupby("stay_id").size() >= 2).all()
    columns = read_table(tmp_path / "out/columns.parquet").to_pandas()
    assert set(columns.Pneumonia.dropna()) == {-1.0}
    assert 0 < columns.Pneumonia.isna().sum() < len(columns)
    assert set(columns.ViewPosition) == {"AP"}
    # A sample's features are those of the same moment asked for otherwise: image times are cut to the minute.
    admitted = pd.to_datetime(text(own, "hosp/admissions").set_index("hadm_id").admittime)
    row = int(inside.index[0])
    stay = stays.set_index("stay_id").loc[samples.stay_id[row]]
    time = admitted[stay.hadm_id] + pd.Timedelta(hours=columns.img_deltacharttime[row])
    time = time.round("s")
    assert time.second == 0
    reference = Reference(own, "corrected")
    x, _ = read_features(tmp_path / "out/features/ts_chart.parquet")
    expected = reference.features("ts_chart", int(samples.stay_id[row]), time)
    np.testing.assert_allclose(x[row], expected, rtol=1e-6, atol=1e-6)
