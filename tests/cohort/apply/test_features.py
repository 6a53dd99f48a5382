"""New files become the features that the study's files became: by name, each sample by itself."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.cohort.reading import Reading, read_reading
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource
from m3h_pipeline.files import read_features, read_json
from tests.cohort.apply.hospital import (
    GENES,
    SOURCE,
    Features,
    frames,
    ingested,
    read,
    without_outcomes,
    write,
)

Study = tuple[Reading, dict[str, np.ndarray], list[str]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return ingested(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def whole(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Features:
    folder = tmp_path_factory.mktemp("whole")
    return read(study[0], write(folder, without_outcomes(frames())), folder / "scratch")


def test_the_study_s_own_files_are_its_features_to_the_bit(study: Study, whole: Features) -> None:
    _, x, ids = study
    assert sorted(whole.ids) == ids
    order = [whole.ids.index(name) for name in ids]
    for name, found in whole.x.items():
        assert found is not None
        assert found[order].tobytes() == x[name].tobytes(), name
    assert np.isnan(x["labs"]).all(1).sum() == 6  # five have none, and one row is zero throughout
    assert x["genes"].shape[1] == 3


def test_rows_and_columns_in_another_order_change_nothing(
    study: Study, whole: Features, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    moved = {}
    for name, frame in without_outcomes(frames()).items():
        frame = frame.iloc[rng.permutation(len(frame))]
        order = rng.permutation(frame.shape[1])
        if name == "genes.tsv":
            order = np.r_[0, order[order > 0]]
        moved[name] = frame.iloc[:, order]
    found = read(study[0], write(tmp_path, moved)[::-1], tmp_path / "scratch")
    assert found.ids != whole.ids
    for name in whole.ids:
        assert found.of(name) == whole.of(name)


def test_one_patient_alone_is_as_among_all(study: Study, whole: Features, tmp_path: Path) -> None:
    for name in ("S000", "S008", "S044"):
        tables = without_outcomes(frames())
        tables["people.csv"] = tables["people.csv"].query("stay == @name")
        tables["labs.csv"] = tables["labs.csv"].query("stay == @name or stay == 'S077'")
        tables["genes.tsv"] = tables["genes.tsv"][["gene", name]]
        found = read(study[0], write(tmp_path / name, tables), tmp_path / "scratch")
        assert found.ids == [name]
        assert found.of(name) == whole.of(name)


def test_a_truth_alone_in_its_file_is_what_it_was_in_the_study(tmp_path: Path) -> None:
    """Numbers and categories of true and false, of one sample, in whichever way a program writes them."""
    rng = np.random.default_rng(0)
    n = 60
    a = pd.DataFrame(
        {
            "stay": [f"S{i:02d}" for i in range(n)],
            "smoker": rng.random(n) < 0.4,
            "ventilated": rng.random(n) < 0.5,
        }
    )
    b = pd.DataFrame({"stay": a["stay"], "shock": rng.random(n) < 0.3})
    blocks = {
        "person": {"columns": ["smoker", "ventilated"], "categorical": ["smoker"]},
        "labs": {"columns": ["shock"], "file": 1},
    }
    files = [{"path": f"{name}.csv", "id": "stay"} for name in "ab"]
    write(tmp_path / "study", {"a.csv": a, "b.csv": b})
    source = TableSource.model_validate({"kind": "table", "files": files, "blocks": blocks}).located(
        str(tmp_path / "study")
    )
    ingest_table(source, list(blocks), tmp_path / "cohort", stream=io.StringIO())
    reading = read_reading(tmp_path / "cohort/reading.json")
    x = {name: read_features(tmp_path / f"cohort/features/{name}.parquet")[0] for name in blocks}
    for truth, forms in {True: ("TRUE", "true", "True", "1", "1.0"), False: ("FALSE", "0")}.items():
        alike = (a["smoker"] == truth) & (a["ventilated"] == truth) & (b["shock"] == truth)
        at = int(np.flatnonzero(alike)[0])
        one = {"a": a.iloc[[at]], "b": b.iloc[[at]]}
        for form in forms:
            texts = {f"{k}.csv": frame.astype(object).replace({truth: form}) for k, frame in one.items()}
            found = read(reading, write(tmp_path / form, texts), tmp_path / "scratch")
            for name, values in x.items():
                assert found.of(a["stay"][at])[name] == values[at].tobytes(), (form, name)
            assert not found.unseen
        for k, frame in one.items():
            frame.to_parquet(tmp_path / f"{k}.parquet")
        found = read(reading, [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "scratch")
        assert found.of(a["stay"][at]) == {name: values[at].tobytes() for name, values in x.items()}


@pytest.mark.parametrize("new", ["Zoology", "Dentistry", "other", "1", ""])
def test_a_renamed_or_new_category_moves_no_other_patient(
    study: Study, whole: Features, tmp_path: Path, new: str
) -> None:
    tables = without_outcomes(frames())
    ward = tables["people.csv"]["ward"]
    renamed = tables["people.csv"]["stay"][ward == "Surgery"].tolist()
    tables["people.csv"]["ward"] = ward.replace("Surgery", new)
    found = read(study[0], write(tmp_path, tables), tmp_path / "scratch")
    for name in whole.ids:
        if name not in renamed:
            assert found.of(name) == whole.of(name)
    names = study[0].sources["person"].names
    person = found.x["person"]
    assert person is not None
    rows = person[[found.ids.index(name) for name in renamed]]
    wards = [i for i, name in enumerate(names) if name.startswith("ward=")]
    # The patients of Dentistry are too few to be a group: those of the next smallest ward hide them.
    assert [names[i] for i in wards] == ["ward=Cardiology", "ward=Surgery", "ward=other"]
    expected = [0, 0, 1] if new else [np.nan] * 3
    np.testing.assert_array_equal(rows[:, wards], [expected] * len(rows))
    assert found.unseen["ward"] >= (set(renamed) if new else set())


def test_an_absent_category_moves_nobody(study: Study, whole: Features, tmp_path: Path) -> None:
    tables = without_outcomes(frames())
    tables["people.csv"] = tables["people.csv"].query("ward != 'Cardiology'")
    found = read(study[0], write(tmp_path, tables), tmp_path / "scratch")
    assert 0 < len(found.ids) < len(whole.ids)
    for name in found.ids:
        assert found.of(name) == whole.of(name)


def test_numbers_of_categories_are_named_one_by_one(study: Study, whole: Features, tmp_path: Path) -> None:
    # In the study `site` is 1 or 2.50; a text among them makes numbers of a new file no texts.
    tables = without_outcomes(frames())
    tables["people.csv"].loc[0, "site"] = "north"
    tables["people.csv"]["site"] = tables["people.csv"]["site"].replace({"1": "1.0", "2.50": "2.5"})
    found = read(study[0], write(tmp_path, tables), tmp_path / "scratch")
    for name in whole.ids[1:]:
        assert found.of(name) == whole.of(name)
    assert found.unseen["site"] == {whole.ids[0]}


def test_genes_of_another_version_are_the_same_genes(study: Study, whole: Features, tmp_path: Path) -> None:
    tables = without_outcomes(frames())
    genes = tables["genes.tsv"]
    genes["gene"] = [f"{name.partition('.')[0]}.{20 + i}" for i, name in enumerate(GENES)]
    tables["genes.tsv"] = genes.iloc[::-1]
    found = read(study[0], write(tmp_path, tables), tmp_path / "scratch")
    for name in whole.ids:
        assert found.of(name) == whole.of(name)


def test_a_source_that_nobody_has_is_said_to_be_absent(study: Study, whole: Features, tmp_path: Path) -> None:
    tables = without_outcomes(frames())
    del tables["genes.tsv"]
    found = read(study[0], write(tmp_path, tables), tmp_path / "scratch", ["genes"])
    assert found.x["genes"] is None
    name = whole.ids[7]
    assert found.of(name) == {k: v for k, v in whole.of(name).items() if k != "genes"}


@pytest.mark.parametrize("absent", ["person", "labs", "genes", "home"])
def test_files_of_an_absent_source_may_be_given(
    study: Study, whole: Features, tmp_path: Path, absent: str
) -> None:
    """They still say which samples there are, and through whom others are joined."""
    paths = write(tmp_path, without_outcomes(frames()))
    found = read(study[0], paths, tmp_path / "scratch", [absent])
    assert found.ids == whole.ids
    for name in (whole.ids[0], whole.ids[50]):
        assert found.of(name) == {k: v for k, v in whole.of(name).items() if k != absent}


def test_a_cohort_s_folder_is_read_by_the_names_of_its_features(
    study: Study, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    again, x, ids = ingested(tmp_path)
    assert again == study[0]
    found = read(study[0], [tmp_path / "cohort"], tmp_path / "scratch")
    assert found.ids == ids
    for name, one in found.x.items():
        assert one is not None
        assert one.tobytes() == x[name].tobytes()


def test_the_record_holds_no_value_of_few_and_no_folder(study: Study, tmp_path: Path) -> None:
    ingested(tmp_path)
    text = (tmp_path / "cohort/reading.json").read_text()
    assert "Dentistry" not in text
    assert str(tmp_path) not in text
    assert "M001" not in text
    assert "S001" not in text
    content = read_json(tmp_path / "cohort/reading.json")
    assert content["source"]["blocks"].keys() == SOURCE["blocks"].keys()
