"""The studies that are tables."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.io import arff

from m3h_pipeline.cohort.ingest import ingest
from m3h_pipeline.config import (
    TableSource,
    load_study,
    located_source,
)
from m3h_pipeline.files import read_features, read_labels, read_samples, read_table
from m3h_pipeline.tasks.definitions import tasks_of
from m3h_pipeline.tasks.labels import label_task
from tests.cohort.table.files import shipped

ROOT = Path(__file__).resolve().parents[3]


# --- the real studies ------------------------------------------------------------------------------------


def _study(name: str, data: Path | None = None) -> tuple[TableSource, list[str]]:
    study = load_study(ROOT / "config" / f"{name}.yaml")
    if data is not None:
        study = study.model_copy(update={"data": str(data)})
    source = located_source(study)
    assert isinstance(source, TableSource)
    return source, [name for modality in study.modalities.values() for name in modality.sources]


def test_the_study_of_gse7390(tmp_path: Path) -> None:
    source, sources = _study("gse7390")
    summary = ingest(source, sources, tmp_path / "out", stream=io.StringIO())
    assert (summary["rows"], summary["patients"]) == (198, 198)
    assert {name: s["features"] for name, s in summary["sources"].items()} == {
        "expression": 76,
        "clinical": 1,
    }
    text = (shipped() / "breast_cancer_GSE7390-metastasis.arff").read_text()
    data, _ = arff.loadarff(io.StringIO(text))
    x, names = read_features(tmp_path / "out/features/expression.parquet")
    assert all(name.startswith("X") for name in names)
    np.testing.assert_array_equal(x, np.stack([data[name] for name in names], axis=1).astype(np.float32))
    columns = read_table(tmp_path / "out/columns.parquet").to_pandas()
    assert set(columns["er"]) == {"positive", "negative"}
    np.testing.assert_array_equal(columns["t.tdm"], data["t.tdm"])
    np.testing.assert_array_equal(columns["e.tdm"], data["e.tdm"].astype(float))


@pytest.mark.real_data
def test_the_study_of_tcga_brca(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "tcga-brca"
    if not folder.is_dir():
        pytest.skip(f"no TCGA data: {folder} does not exist")
    source, sources = _study("tcga_brca", real_data)
    summary = ingest(source, sources, tmp_path / "out", stream=io.StringIO())
    outcomes = pd.read_csv(folder / "outcomes.csv").sort_values("patient", ignore_index=True)
    genes = pd.read_csv(folder / "expression.csv.gz").set_index("patient").loc[outcomes["patient"]]
    assert (summary["rows"], summary["patients"], summary["ignored"]["rows"]) == (700, 700, 0)
    samples = read_samples(tmp_path / "out/samples.parquet").to_pandas()
    assert samples["sample_id"].tolist() == outcomes["patient"].tolist()
    x, names = read_features(tmp_path / "out/features/expression.parquet")
    assert names == list(genes.columns)
    assert genes.to_numpy().max() > 30_000
    np.testing.assert_array_equal(x, genes.clip(-10, 10).to_numpy(np.float32))
    clinical, names = read_features(tmp_path / "out/features/clinical.parquet")
    np.testing.assert_array_equal(clinical[:, names.index("age")], outcomes["age"].astype(np.float32))
    pre = clinical[:, names.index("menopause=Pre")]
    np.testing.assert_array_equal(np.isnan(pre), outcomes["menopause"].isin(["[Not", "[Unknown]"]))
    assert np.isnan(pre).sum() == 48
    assert [name for name in names if name.startswith("menopause")] == [
        f"menopause={value}" for value in ("Indeterminate", "Peri", "Post", "Pre")
    ]
    np.testing.assert_array_equal(pre == 1, outcomes["menopause"] == "Pre")
    columns = read_table(tmp_path / "out/columns.parquet").to_pandas()
    assert list(columns.columns) == source.columns
    for name in source.columns:
        pd.testing.assert_series_equal(
            columns[name], outcomes[name], check_dtype=False, check_names=False, check_exact=True
        )


@pytest.mark.real_data
def test_the_study_of_a_small_hospital(real_data: Path, tmp_path: Path) -> None:
    """Five files as a ward exports them; pandas is the referee."""
    folder = real_data / "small-hospital"
    if not folder.is_dir():
        pytest.skip(f"no data of the small hospital: {folder} does not exist")
    source, sources = _study("small_hospital", real_data)
    summary = ingest(source, sources, tmp_path / "out", stream=io.StringIO())
    files = {
        name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False).set_index(first)
        for name, first in (("outcomes", "encounter_id"), ("labs", "encounter_id"), ("olink", "SampleID"))
    }
    stays = sorted(files["outcomes"].index)
    samples = read_samples(tmp_path / "out/samples.parquet").to_pandas()
    assert samples["sample_id"].tolist() == stays
    assert samples["patient_id"].tolist() == files["outcomes"].loc[stays, "mrn"].tolist()
    assert summary["patients"] == 900
    x, names = read_features(tmp_path / "out/features/labs.parquet")
    labs = files["labs"].loc[stays].drop(columns="mrn")
    assert names == list(labs)
    expected = labs.replace({"<5": "2.5", "NA": "nan", "n/a": "nan", "": "nan"}).astype(np.float64)
    np.testing.assert_array_equal(x, expected.to_numpy(np.float32))
    limits = int((labs == "<5").to_numpy().sum())
    assert summary["limits"] == {"taken_as": "half", "values": {"hs-TnT": limits}}
    proteins, names = read_features(tmp_path / "out/features/proteins.parquet")
    np.testing.assert_array_equal(
        proteins, files["olink"].reindex(stays).astype(np.float64).to_numpy(np.float32)
    )
    assert len(names) == 180
    assert read_features(tmp_path / "out/features/demographics.parquet")[1] == [
        "age",
        *(f"sex={value}" for value in "FMU"),
        *(f"ward={value}" for value in ("Cardiology", "MICU", "Medicine", "SICU")),
    ]
    # The date is left out by name, and nothing else goes unused.
    assert summary["ignored"]["columns"] == []
    tasks = tasks_of(load_study(ROOT / "config/small_hospital.yaml").tasks)
    positives = {}
    for name, definition in tasks.items():
        out = (tmp_path / f"{name}.parquet", tmp_path / f"{name}.tsv")
        label_task(name, definition, tmp_path / "out", *out)
        y = read_labels(out[0])[0]
        positives[name] = int((y > 0).sum())
    codes = pd.read_csv(folder / "diagnoses.csv")
    assert positives["aki"] == 270
    assert positives["readmission_30d"] == 248
    assert positives["delirium"] == 151
    assert positives["survival"] == 746
    for name, block in (("sepsis", "A41"), ("heart_failure", "I50"), ("kidney_disease", "N18")):
        stays_with = codes[codes["icd10"].str.startswith(block)]["encounter_id"].nunique()
        assert positives[name] == stays_with


def test_the_page_for_newcomers_shows_the_study_as_it_ships() -> None:
    page = (ROOT / "docs/bring_your_own_hospital.md").read_text(encoding="utf-8")
    section = page[page.index("## Exports as they are") : page.index("### Other exports")]
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]
    study = yaml.safe_load((ROOT / "config/small_hospital.yaml").read_text(encoding="utf-8"))["source"]
    tasks = yaml.safe_load((ROOT / "resources/tasks/small_hospital.yaml").read_text(encoding="utf-8"))[
        "tasks"
    ]

    def bare(value: Any) -> Any:
        """Without the folder that the shipped study names."""
        if isinstance(value, dict):
            return {key: bare(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [bare(entry) for entry in value]
        return value.removeprefix("small-hospital/") if isinstance(value, str) else value

    study = bare(study)
    seen: set[str] = set()
    for part in shown:
        for name, definition in part.pop("tasks", {}).items():
            assert definition.items() <= tasks[name].items()
            seen.add("tasks")
        source = part.pop("source", part)
        for key, value in source.items():
            if key == "files":
                assert all(file in study["files"] for file in value)
            elif key == "blocks":
                assert value.items() <= study["blocks"].items()
            else:
                assert value == study[key]
            seen.add(key)
    assert seen >= {"tasks", "files", "blocks", "columns", "diagnoses"}
