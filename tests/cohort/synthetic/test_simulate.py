"""The synthetic input as a study meets it: its files and traps, its labels through the definitions."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from m3h_pipeline.cohort.ingest import ingest
from m3h_pipeline.cohort.synthetic import codes
from m3h_pipeline.cohort.synthetic.simulate import haim_source, simulate, simulated_files
from m3h_pipeline.config import SyntheticSource
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_samples
from m3h_pipeline.tasks.definitions import load_definitions
from m3h_pipeline.tasks.labels import build_labels

DEFINITIONS = Path(__file__).resolve().parents[3] / "resources" / "tasks" / "m3h.yaml"
FloatArray = npt.NDArray[np.float64]


def study(
    folder: Path, settings: SyntheticSource, seed: int
) -> tuple[dict[str, Any], dict[str, FloatArray], Path]:
    """Truth, labels by task, and the cohort's folder."""
    simulate(settings, seed, folder / "input")
    source = haim_source(settings, folder / "input")
    ingest(source, list(source.blocks), folder / "cohort")
    samples = read_samples(folder / "cohort" / "samples.parquet")
    labels = {
        task: build_labels(definition, samples, folder / "cohort")[0].astype(float)
        for task, definition in load_definitions([DEFINITIONS]).items()
    }
    return json.loads((folder / "input" / "truth.json").read_text()), labels, folder / "cohort"


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, FloatArray], Path]:
    return study(tmp_path_factory.mktemp("default"), SyntheticSource(), 11)


def test_the_table_of_codes_is_the_one_that_the_code_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file of data must not make cohorts under the digest of unchanged code."""
    monkeypatch.setattr(codes, "TABLE_DIGEST", "0" * 64)
    codes.icd_codes.cache_clear()
    with pytest.raises(ContractError, match="another than the code expects"):
        codes.icd_codes()
    monkeypatch.undo()
    assert len(codes.icd_codes()) == len({(item.version, item.code) for item in codes.icd_codes()})


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    settings = SyntheticSource(samples=250)
    # The order in which sources are listed has no meaning.
    turned = SyntheticSource(samples=250, widths=dict(reversed(settings.widths.items())))
    for name, given, seed in (("a", settings, 3), ("b", turned, 3), ("c", settings, 4)):
        simulate(given, seed, tmp_path / name)
    files = {
        name: {
            p.relative_to(tmp_path / name): p.read_bytes()
            for p in (tmp_path / name).rglob("*")
            if p.is_file()
        }
        for name in "abc"
    }
    assert files["a"] == files["b"]
    table = Path(haim_source(settings, tmp_path / "a").table).relative_to(tmp_path / "a")
    assert files["a"][table] != files["c"][table]


def test_the_published_traps_are_in_the_file(tmp_path: Path) -> None:
    settings = SyntheticSource(samples=600)
    simulate(settings, 5, tmp_path)
    # What the workflow waits for.
    assert set(simulated_files(tmp_path)) == {path for path in tmp_path.rglob("*") if path.is_file()}
    source = haim_source(settings, tmp_path)
    with Path(source.table).open(newline="") as stream:
        header, *rows = list(csv.reader(stream))
    known = sum(settings.widths.values())
    blocks = Counter(name.rstrip("0123456789") for name in header if name[-1].isdigit())
    unknown = {prefix: n for prefix, n in blocks.items() if prefix not in source.blocks.values()}
    assert sum(blocks[prefix] for prefix in source.blocks.values()) == known
    assert len(unknown) == 2
    whole, overlong = rows[:-2], rows[-2:]
    assert {len(row) for row in whole} == {len(header)}
    assert all(len(row) == len(header) + settings.widths["note_radiology"] for row in overlong)
    stays = Counter(row[header.index("haim_id")] for row in whole)
    images = Counter((row[header.index("haim_id")], row[header.index("img_id")]) for row in whole)
    assert max(stays.values()) > 1
    assert max(images.values()) > 1
    assert len(images) == 600
    for finding in ("Edema", "Pneumonia", "Pneumothorax"):
        assert {float(row[header.index(finding)] or "nan") for row in whole} >= {-1.0, 0.0, 1.0}
        assert "" in {row[header.index(finding)] for row in whole}


def test_a_patient_has_several_samples_and_stays(default: tuple[dict[str, Any], Any, Path]) -> None:
    samples = read_samples(default[2] / "samples.parquet")
    patients = Counter(samples["patient_id"].to_pylist())
    assert samples.num_rows >= 2000
    assert samples.num_rows / len(patients) == pytest.approx(1.5, rel=0.1)
    pairs = set(zip(samples["patient_id"].to_pylist(), samples["stay_id"].to_pylist(), strict=True))
    assert max(Counter(patient for patient, _ in pairs).values()) > 1


def test_the_default_tasks_are_what_the_truth_says(
    default: tuple[dict[str, Any], dict[str, FloatArray], Path],
) -> None:
    truth, labels, _ = default
    grouped = list(itertools.chain(*truth["groups"]))
    tasks = {*grouped, *truth["noise"], *truth["rare"], *itertools.chain(*truth["conflicts"])}
    assert len(tasks) >= 10
    assert len(truth["groups"]) >= 2
    assert truth["noise"]
    assert truth["conflicts"]
    for task in truth["rare"]:
        assert 0 < np.nanmean(labels[task]) < 0.03
        # Five in every part of the split is what a fold needs.
        assert np.nansum(labels[task]) >= 30
    for task in truth["missing"]:
        assert np.isnan(labels[task]).mean() > 0.2
    for task in tasks - {"length_of_stay"}:
        assert len(np.unique(labels[task][np.isfinite(labels[task])])) >= 2
    stay = labels["length_of_stay"]
    assert np.nanmin(stay) >= 0
    assert 2 < np.nanmean(stay) < 15


def test_related_labels_go_together_and_noise_goes_with_none(
    default: tuple[dict[str, Any], dict[str, FloatArray], Path],
) -> None:
    truth, labels, _ = default

    def association(a: str, b: str) -> float:
        both = np.isfinite(labels[a]) & np.isfinite(labels[b])
        return float(np.corrcoef(labels[a][both], labels[b][both])[0, 1])

    binary = [task for task, y in labels.items() if len(np.unique(y[np.isfinite(y)])) == 2]
    for group in truth["groups"]:
        for a, b in itertools.combinations([task for task in group if task in binary], 2):
            assert association(a, b) > 0.1
    # Samples of one admission share a label: the chance level is that of the patients.
    chance = 4 / np.sqrt(1500)
    for noise in truth["noise"]:
        for task in itertools.chain(*truth["groups"]):
            assert abs(association(noise, task)) < chance


def test_all_41_tasks_have_labels(tmp_path: Path) -> None:
    settings = SyntheticSource(tasks="all", widths=dict.fromkeys(SyntheticSource().widths, 6))
    _, labels, _ = study(tmp_path, settings, 2)
    assert len(labels) == 41
    for task, y in labels.items():
        if task != "phenotype":
            assert len(np.unique(y[np.isfinite(y)])) >= 2, task
