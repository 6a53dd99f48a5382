"""Notes and images of real stays (the notes made up, the images drawn) to features of samples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from m3h_pipeline.check import check_study
from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.mimic import embeddings
from m3h_pipeline.cohort.mimic.embeddings import embed_source
from m3h_pipeline.cohort.mimic.ingest import ingest_mimic
from m3h_pipeline.config import MimicEmbedding, MimicSource
from m3h_pipeline.config.mimic import CHEXPERT
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_features, read_samples
from tests.cohort.mimic.conftest import demo, own, tenth, text, write
from tests.conftest import ROOT

__all__ = ["demo", "own", "tenth"]
pytestmark = pytest.mark.real_data


class Fake:
    """The first number in a text, or the mean grey of an image, over and over."""

    def __init__(self, width: int) -> None:
        self.width, self.digest = width, "c" * 64

    def content(self, item: str) -> bytes:
        return Path(item).read_bytes() if item.endswith(".jpg") else item.encode()

    def embed(self, items: Sequence[str]) -> Float32Array:
        values = [
            float(np.asarray(Image.open(item)).mean()) if item.endswith(".jpg") else float(item.split()[-1])
            for item in items
        ]
        return np.repeat(np.array(values, dtype=np.float32)[:, None], self.width, axis=1)


def source_of(folder: Path, **settings: object) -> MimicSource:
    notes = MimicEmbedding(kind="language", model="none", notes=str(folder / "radiology.csv.gz"))
    return MimicSource.model_validate(
        {"folder": str(folder), "samples": "every", "hours": 24, "embeddings": {"notes": notes}} | settings
    )


def write_notes(folder: Path, later: str = "same") -> pd.DataFrame:
    """Three notes a stay, 2, 30 and 60 hours after its start, each stored an hour later."""
    stays = text(folder, "icu/icustays")
    rows = []
    for i, stay in enumerate(stays.itertuples()):
        for hours in (2, 30, 60):
            charted = pd.Timestamp(str(stay.intime)) + pd.Timedelta(hours=hours)
            value = 100 * i + hours
            if later == "changed" and hours + 1 > 24:
                value = -value
            rows.append(
                {
                    "note_id": f"{i}-{hours}",
                    "subject_id": stay.subject_id,
                    "hadm_id": stay.hadm_id,
                    "note_type": "RR",
                    "charttime": str(charted),
                    "storetime": str(charted + pd.Timedelta(hours=1)),
                    "text": f'Findings:\nno "acute" process, {value}',
                }
            )
    # A note of an admission without an ICU stay, and one without an admission.
    rows += [{**rows[0], "note_id": "x", "hadm_id": "1"}, {**rows[0], "note_id": "y", "hadm_id": ""}]
    table = pd.DataFrame(rows)
    write(table, folder / "radiology.csv.gz")
    return table


def build(source: MimicSource, folder: Path, names: list[str]) -> dict[str, Float32Array]:
    for name in source.embeddings:
        embed_source(
            source, name, folder / "store", folder / f"embeddings/{name}.parquet", stream=io.StringIO()
        )
    embedded = folder / "embeddings"
    ingest_mimic(source, names, folder / "cohort", embeddings=embedded, stream=io.StringIO())
    return {name: read_features(folder / f"cohort/features/{name}.parquet")[0] for name in names}


def test_notes_are_weighted_by_time_and_none_from_later(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "embedder_of", lambda *_: Fake(3))
    notes = write_notes(own)
    names = ["demographics", "notes"]
    x = build(source_of(own), tmp_path / "a", names)["notes"]
    samples = read_samples(tmp_path / "a/cohort/samples.parquet").to_pandas()
    stays = text(own, "icu/icustays").set_index("stay_id")
    admitted = pd.to_datetime(text(own, "hosp/admissions").set_index("hadm_id").admittime)
    for row, sample in enumerate(samples.itertuples()):
        stay = stays.loc[sample.stay_id]
        k = int(str(sample.sample_id).rpartition("-")[2])
        time = pd.Timestamp(str(stay.intime)) + pd.Timedelta(hours=24 * k)
        mine = notes[(notes.hadm_id == stay.hadm_id) & (pd.to_datetime(notes.storetime) <= time)]
        hours = (pd.to_datetime(mine.charttime) - admitted[stay.hadm_id]).dt.total_seconds() / 3600
        value = mine.text.str.split().str[-1].astype(float)
        np.testing.assert_allclose(x[row], np.average(value, weights=hours), rtol=1e-5)
    # Leakage: the first sample of a stay does not see what was stored later.
    write_notes(own, "changed")
    y = build(source_of(own), tmp_path / "b", names)["notes"]
    first = samples.sample_id.str.endswith("-0001").to_numpy()
    alone = (stays.hadm_id.value_counts().reindex(stays.loc[samples.stay_id].hadm_id) == 1).to_numpy()
    assert (first & alone).sum() >= 5
    np.testing.assert_array_equal(x[first & alone], y[first & alone])
    assert not np.array_equal(x, y)


@pytest.mark.parametrize(("how", "expected"), [("mean", 16.0), ("last", 30.0)])
def test_the_other_aggregations(
    how: str, expected: float, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "embedder_of", lambda *_: Fake(2))
    write_notes(own)
    source = source_of(own, hours=36, max_per_stay=1)
    changed = source.embeddings["notes"].model_copy(update={"aggregate": how})
    source = source.model_copy(update={"embeddings": {"notes": changed}})
    x = build(source, tmp_path, ["notes"])["notes"]
    stays = text(own, "icu/icustays").reset_index().set_index("stay_id")
    samples = read_samples(tmp_path / "cohort/samples.parquet").to_pandas()
    alone = stays.hadm_id.value_counts().reindex(stays.loc[samples.stay_id].hadm_id).to_numpy() == 1
    place = stays.loc[samples.stay_id, "index"].to_numpy()
    np.testing.assert_allclose(x[alone, 0], (100 * place + expected)[alone])


def test_images_of_the_admission_up_to_the_sample(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "embedder_of", lambda *_: Fake(1042))
    stays = text(own, "icu/icustays")
    rows = []
    for i, stay in enumerate(stays.itertuples()):
        for j, hours in enumerate((0.5, 1.5)):
            taken = pd.Timestamp(str(stay.intime)) + pd.Timedelta(hours=hours)
            study = 1000 + 10 * i + j
            rows.append(
                {
                    "dicom_id": f"d{i}-{j}",
                    "subject_id": stay.subject_id,
                    "study_id": str(study),
                    "PerformedProcedureStepDescription": "",
                    "ViewPosition": "AP",
                    "StudyDate": taken.strftime("%Y%m%d"),
                    "StudyTime": taken.strftime("%H%M%S.0"),
                }
            )
            subject = str(stay.subject_id)
            path = own / f"files/p{subject[:2]}/p{subject}/s{study}/d{i}-{j}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 20), 100 + 50 * j, dtype=np.uint8)).save(path, quality=95)
    write(pd.DataFrame(rows), own / "mimic-cxr-2.0.0-metadata.csv.gz")
    found = pd.DataFrame(rows)[["subject_id", "study_id"]]
    write(found.assign(**dict.fromkeys(CHEXPERT, "")), own / "mimic-cxr-2.0.0-chexpert.csv.gz")
    used = {
        "dense": MimicEmbedding(kind="vision_dense", model="none", aggregate="last"),
        "multi": MimicEmbedding(kind="vision_dense", model="none"),
        "probabilities": MimicEmbedding(kind="vision_probabilities", model="none"),
    }
    source = source_of(own, samples="per_image", cxr=str(own), embeddings=used)
    x = build(source, tmp_path, list(used))
    assert [x[name].shape[1] for name in used] == [1024, 1024, 18]
    samples = read_samples(tmp_path / "cohort/samples.parquet").to_pandas()
    second = samples.sample_id.str.endswith("-0002").to_numpy()
    # The sample's own image is known at its time; the later one of the two weighs all.
    np.testing.assert_allclose(x["dense"][second], 150, atol=2)
    # In an admission of several stays there are more images before it.
    keys = stays.set_index("stay_id").loc[samples.stay_id].hadm_id
    alone = second & (stays.hadm_id.value_counts().reindex(keys) == 1).to_numpy()
    assert alone.any()
    np.testing.assert_allclose(x["multi"][alone], 150, atol=2)
    # Images are stored once, for all three sources.
    stored = sum(len(pd.read_parquet(path)) for path in (tmp_path / "store").rglob("*.parquet"))
    assert stored == 2


def test_what_is_missing_is_said(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(own)
    with pytest.raises(InputError, match="not given"):
        ingest_mimic(source, ["notes"], tmp_path / "a", stream=io.StringIO())
    with pytest.raises(InputError, match="does not exist"):
        ingest_mimic(source, ["notes"], tmp_path / "a", embeddings=tmp_path, stream=io.StringIO())
    with pytest.raises(InputError, match="language model lacks"):
        embed_source(source, "notes", tmp_path / "store", tmp_path / "x.parquet", stream=io.StringIO())
    monkeypatch.setattr(embeddings, "embedder_of", lambda *_: Fake(3))
    with pytest.raises(InputError, match="does not exist"):
        embed_source(source, "notes", tmp_path / "store", tmp_path / "x.parquet", stream=io.StringIO())
    write(write_notes(own).assign(hadm_id="1"), own / "radiology.csv.gz")
    with pytest.raises(InputError, match="no admission with an ICU stay has any"):
        embed_source(source, "notes", tmp_path / "store", tmp_path / "x.parquet", stream=io.StringIO())
    assert not (tmp_path / "x.parquet").exists()
    assert not (tmp_path / "a").exists()


def test_check_loads_the_model_and_embeds_nothing(
    tenth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = {
        "study": "x",
        "data": str(tenth.parent),
        "source": {
            "kind": "mimic",
            "folder": tenth.name,
            "samples": "every",
            "hours": 12,
            "cxr": "none",
            "embeddings": {"xray": {"kind": "vision_probabilities", "model": "absent"}},
        },
        "modalities": {"time_series": {"sources": ["ts_chart"]}, "vision": {"sources": ["xray"]}},
        "tasks": {
            "definitions": [str(ROOT / "resources/tasks/m3h.yaml")],
            "include": ["length_of_stay", "phenotype"],
            "min_per_fold": 2,
        },
        "split": {"folds": 2},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(InputError, match="weights are absent"):
        check_study(tmp_path / "study.yaml", io.StringIO())
    monkeypatch.setattr(embeddings, "embedder_of", lambda *_: Fake(1042))
    # Every feature of so few patients would tell of few, and none would be used.
    monkeypatch.setattr(
        "m3h_pipeline.training.data.told_by_few", lambda x, _: np.zeros(x.shape[1], dtype=bool)
    )
    screen = io.StringIO()
    check_study(tmp_path / "study.yaml", screen)
    assert "not embedded for this check: xray" in screen.getvalue()
    assert "2 of 2 tasks can be evaluated" in screen.getvalue()


@pytest.mark.parametrize(("how", "expected"), [("time_weighted", 3.0), ("mean", 2.0), ("last", 3.0)])
def test_a_note_is_known_once_it_is_stored_not_once_it_is_charted(how: str, expected: float) -> None:
    """The last note is charted before the sample and stored after it; the one before, at its very time."""
    rows = {"hadm_id": [7, 7, 7], "time": [0, 20, 30], "known": [5, 50, 51]}
    x = np.array([[1.0], [3.0], [100.0]], dtype=np.float32)
    at = {name: np.array([value]) for name, value in (("hadm", 7), ("time", 50), ("admitted", 0))}
    embedding = MimicEmbedding.model_validate(
        {"kind": "language", "model": "m", "notes": "n.csv", "aggregate": how}
    )
    known = {name: np.array(values) for name, values in rows.items()}
    found = embeddings.aggregate(known, x, at["hadm"], at["time"], at["admitted"], embedding)
    assert found.tolist() == [[expected]]
