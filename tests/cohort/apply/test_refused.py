"""What keeps files from being read, each with its sentence; and all of it in one message."""

from __future__ import annotations

import io
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.cohort.reading import Reading, read_reading
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_features, write_features
from m3h_pipeline.layout import CohortFiles
from tests.cohort.apply.hospital import frames, ingested, read, without_outcomes, write

Tables = dict[str, pd.DataFrame]
Break = Callable[[Tables], object]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reading, Path]:
    folder = tmp_path_factory.mktemp("hospital")
    return ingested(folder)[0], folder / "cohort"


def _drop(file: str, *columns: str) -> Break:
    return lambda t: t.update({file: t[file].drop(columns=list(columns))})


def _set(file: str, row: int, column: str, value: str) -> Break:
    def change(tables: Tables) -> None:
        tables[file].loc[row, column] = value

    return change


def _rename(file: str, **names: str) -> Break:
    return lambda t: t.update(
        {file: t[file].rename(columns={k.replace("__", " "): v for k, v in names.items()})}
    )


def _rename_creatinine(to: str) -> Break:
    return lambda t: t.update({"labs.csv": t["labs.csv"].rename(columns={"creatinine (mg/dL)": to})})


def _twice(file: str, column: str) -> Break:
    return lambda t: t.update({file: pd.concat([t[file], t[file][[column]]], axis=1)})


def _again(file: str) -> Break:
    return lambda t: t.update({file: pd.concat([t[file], t[file].iloc[[4]]])})


def _genes(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Break:
    return lambda t: t.update({"genes.tsv": change(t["genes.tsv"])})


def _negative(genes: pd.DataFrame) -> pd.DataFrame:
    genes.iloc[1, 5] = "-7"
    return genes


#: What is done to the files, and what is said of it.
BROKEN: dict[str, tuple[Break, str]] = {
    "a column is absent": (
        _drop("labs.csv", "hb"),
        r"column `hb`, of source `labs`, is absent(?s:.*)may be a column without values",
    ),
    "several columns are absent": (
        _drop("labs.csv", "hb", "tnt"),
        r"2 columns of source `labs` are absent: `hb`, `tnt`(?s:.*)may be a column without values",
    ),
    "all columns in capitals": (
        lambda t: t.update({"labs.csv": t["labs.csv"].rename(columns=str.upper)}),
        r"`CREATININE \(MG/DL\)`, .* of the study's labs.csv differ in capitals: name columns as",
    ),
    "all in one file": (
        lambda t: t.update({"people.csv": t["people.csv"].merge(t.pop("labs.csv"), on="stay")}),
        r"they stand in .*people.csv: give them, with their ids, as a file of their own, too",
    ),
    "a category is absent": (_drop("people.csv", "ward"), r"column `ward`, of source `person`, is absent"),
    "the id is absent": (
        _rename("people.csv", stay="encounter"),
        r"column `stay`, the id of its rows, is absent",
    ),
    "the id of another file is absent": (
        _rename("labs.csv", stay="Stay"),
        r"column `stay`, the id of its rows, is absent",
    ),
    "another unit": (
        _rename_creatinine("creatinine (umol/L)"),
        r"`creatinine \(umol/L\)` may be `creatinine \(mg/dL\)` in another unit: convert it",
    ),
    "another spelling of a unit": (
        _rename_creatinine("Creatinine_umol_l"),
        r"`Creatinine_umol_l` may be `creatinine \(mg/dL\)` in another unit",
    ),
    "another spelling": (_rename("people.csv", age="Age"), r"is `Age` meant for `age`\? Then name it so"),
    "a column in another file": (
        lambda t: t.update(
            {"labs.csv": t["labs.csv"].drop(columns="hb"), "people.csv": t["people.csv"].assign(hb="12")}
        ),
        r"`hb` stands in .*people.csv",
    ),
    "text among numbers": (
        _set("labs.csv", 9, "hb", "high"),
        r"column `hb` holds text where a number is expected: 'high'(?s:.*)what was not observed stays empty",
    ),
    "a decimal comma": (_set("people.csv", 9, "age", "61,5"), r"decimals take a point, no comma"),
    "numbers with units": (
        _set("labs.csv", 9, "hb", "12 g/dl"),
        r"units belong into the column's name",
    ),
    "a truth among numbers": (
        _set("labs.csv", 9, "hb", "True"),
        r"column `hb` holds true or false among numbers other than 1 and 0",
    ),
    "ids that were floats": (
        _set("people.csv", 9, "stay", "1.00000000000012e+17"),
        r"column `stay` holds identifiers as floats, which lose digits",
    ),
    "dates in the place of numbers": (
        lambda t: t["people.csv"].__setitem__("age", "1961-05-03"),
        r"column `age` holds dates or times(?s:.*)to do: give numbers, as the study had them",
    ),
    "an infinite value": (_set("labs.csv", 9, "hb", "inf"), r"column `hb` holds an infinite value"),
    "a value too large": (_set("labs.csv", 9, "hb", "1e39"), r"column `hb` holds a value beyond 3.4e38"),
    "a column twice": (_twice("people.csv", "age"), r"column `age` stands 2 times in the header"),
    "an id twice": (_again("people.csv"), r"an id stands more than once in column `stay`"),
    "an id twice in another file": (_again("labs.csv"), r"labs.csv, lines? .*|an id stands more than once"),
    "no id": (_set("people.csv", 9, "stay", ""), r"a row has no id in column `stay`"),
    "the header again": (_set("people.csv", 9, "stay", "stay"), r"a row has no id in column `stay`"),
    "an empty file": (
        lambda t: t.update({"people.csv": t["people.csv"].iloc[:0]}),
        r"there is no row after the header",
    ),
    "ids of another kind": (
        lambda t: t["labs.csv"].__setitem__("stay", "X" + t["labs.csv"]["stay"]),
        r"no row belongs to any of the samples",
    ),
    "a gene is absent": (
        _genes(lambda genes: genes.iloc[:3]),
        r"column `ENSG00000091831.3`, of source `genes`, is absent",
    ),
    "one column of a gene fewer": (
        _genes(lambda genes: genes.drop(index=2)),
        r"gene `ENSG00000141510` stands 1 times, and 2 times in the study",
    ),
    "no logarithm": (_genes(_negative), r"gene `ENSG00000012048` has values without a logarithm"),
    "a file is not given": (
        lambda t: t.pop("labs.csv"),
        r"no given file is the study's `labs.csv`, with the columns `creat(?s:.*)`--absent labs`",
    ),
    "a strange file": (
        lambda t: t.update({"menu.csv": pd.DataFrame({"day": ["Monday"], "soup": ["leek"]})}),
        r"the file has none of the columns that are read",
    ),
    "a second file of the same columns": (
        lambda t: t.update({"more.csv": t["labs.csv"].iloc[:3]}),
        r"it has columns of `labs.csv`, for which another file is given",
    ),
    "more patients in a file of their own": (
        lambda t: t.update({"more.csv": frames()["people.csv"].iloc[:3]}),
        r"it has columns of `people.csv`, for which another file is given",
    ),
    "another format": (
        lambda t: t.update({"labs.docx": t.pop("labs.csv")}),
        r"`.docx` is no format of a table",
    ),
}


def _message(reading: Reading, tables: Tables, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(reading, write(folder / "new", tables), folder / "scratch")
    return str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_input_is_refused_with_its_sentence(
    name: str, study: tuple[Reading, Path], tmp_path: Path
) -> None:
    change, sentence = BROKEN[name]
    tables = without_outcomes(frames())
    change(tables)

    assert re.search(sentence, _message(study[0], tables, tmp_path)), name


def test_names_in_capitals_are_no_absent_source(study: tuple[Reading, Path], tmp_path: Path) -> None:
    """Whoever said `--absent` then would throw away what is there."""
    tables = without_outcomes(frames())
    tables["labs.csv"] = tables["labs.csv"].rename(columns=str.upper)
    said = _message(study[0], tables, tmp_path)
    assert "differ in capitals" in said
    assert "--absent" not in said


def test_a_column_of_lists_is_said_to_be_one(study: tuple[Reading, Path], tmp_path: Path) -> None:
    tables = without_outcomes(frames())
    labs = tables.pop("labs.csv")
    people = write(tmp_path / "new", tables)
    labs["hb"] = [[12.0, 13.0]] * len(labs)
    labs.to_parquet(tmp_path / "labs.parquet")
    with pytest.raises(InputError) as caught:
        read(study[0], [*people, str(tmp_path / "labs.parquet")], tmp_path / "scratch")
    said = str(caught.value)
    assert "column `hb`, of source `labs`, holds lists (of 2 numbers)" in said
    assert "hb.1" not in said


def test_a_column_of_the_study_is_no_other_name_of_one(tmp_path: Path) -> None:
    """Whoever followed such a hint would give a model one feature as another."""
    names = ["lab_3", "lab_13", "lab_23"]
    frame = pd.DataFrame({"id": [f"r{i}" for i in range(30)], **dict.fromkeys(names, range(30))})
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = {
        "kind": "table",
        "files": [{"path": str(tmp_path / "t.csv"), "id": "id"}],
        "blocks": {"labs": {"columns": names}},
    }
    ingest_table(TableSource.model_validate(source), ["labs"], tmp_path / "cohort", stream=io.StringIO())
    reading = read_reading(CohortFiles(tmp_path / "cohort").reading)
    for other, said in (("lab_13", "may be a column without values"), ("lab_03", "is `lab_03` meant for")):
        frame.drop(columns="lab_3").rename(columns={"lab_23": other} if other == "lab_03" else {}).to_csv(
            tmp_path / "new.csv", index=False
        )
        with pytest.raises(InputError) as caught:
            read(reading, [tmp_path / "new.csv"], tmp_path / "scratch")
        assert said in str(caught.value)
        assert "`lab_13` meant" not in str(caught.value)


def test_thousands_of_absent_columns_are_said_quickly(tmp_path: Path) -> None:
    """Each is compared with each name that is there: of thousands that would take hours."""
    genes = [f"GENE{i:05d}x" for i in range(3000)]
    frame = pd.DataFrame(np.ones((30, len(genes))), columns=genes)
    frame.insert(0, "id", [f"r{i}" for i in range(30)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = {
        "kind": "table",
        "files": [{"path": str(tmp_path / "t.csv"), "id": "id"}],
        "blocks": {"genes": {"pattern": "GENE.*", "genes": {}}},
    }
    ingest_table(TableSource.model_validate(source), ["genes"], tmp_path / "cohort", stream=io.StringIO())
    reading = read_reading(CohortFiles(tmp_path / "cohort").reading)
    frame.rename(columns={name: f"{name}_y" for name in genes[1:]}).to_csv(tmp_path / "new.csv", index=False)
    before = time.process_time()
    with pytest.raises(InputError, match="2,999 columns of source `genes` are absent"):
        read(reading, [tmp_path / "new.csv"], tmp_path / "scratch")
    assert time.process_time() - before < 20


def test_everything_is_said_at_once(study: tuple[Reading, Path], tmp_path: Path) -> None:
    tables = without_outcomes(frames())
    for name in ("a column is absent", "another spelling", "no id", "an id twice in another file"):
        BROKEN[name][0](tables)
    tables["labs.csv"].loc[9, "tnt"] = "high"
    said = _message(study[0], tables, tmp_path)
    assert "5 things keep these files from being read" in said
    for part in ("`hb`", "`Age`", "no id", "more than once", "'high'"):
        assert part in said


def test_a_broken_line_is_named(study: tuple[Reading, Path], tmp_path: Path) -> None:
    paths = write(tmp_path / "new", without_outcomes(frames()))
    with Path(paths[1]).open("a") as file:
        file.write("S999,1\n")
    with pytest.raises(InputError, match="a line has 2 fields instead of 4"):
        read(study[0], paths, tmp_path / "scratch")


def test_what_is_given_must_be_there_once(study: tuple[Reading, Path], tmp_path: Path) -> None:
    paths = write(tmp_path / "new", without_outcomes(frames()))
    with pytest.raises(InputError, match="the file is given twice"):
        read(study[0], [*paths, paths[0]], tmp_path / "scratch")
    with pytest.raises(InputError, match="the file does not exist"):
        read(study[0], [*paths, tmp_path / "absent.csv"], tmp_path / "scratch")
    with pytest.raises(InputError, match="there is no source `gene` to be absent"):
        read(study[0], paths, tmp_path / "scratch", ["gene"])
    with pytest.raises(InputError, match="every source is absent"):
        read(study[0], paths, tmp_path / "scratch", ["genes", "labs", "person", "home"])


def test_files_of_another_kind_of_source(study: tuple[Reading, Path], tmp_path: Path) -> None:
    (tmp_path / "mimic/hosp").mkdir(parents=True)
    with pytest.raises(
        InputError, match="a folder as MIMIC-IV is distributed, and the study's source reads tables"
    ):
        read(study[0], [tmp_path / "mimic"], tmp_path / "scratch")
    paths = write(tmp_path / "new", without_outcomes(frames()))
    for kind, said in (
        ("haim", "the study's source reads a table in the form of HAIM-MIMIC-MM"),
        ("mimic", "the study's source reads a folder as MIMIC-IV is distributed"),
        ("my.own.Source", "the study's source is one of its own, `my.own.Source`"),
    ):
        with pytest.raises(InputError, match=said):
            read(study[0].model_copy(update={"kind": kind}), paths[:1], tmp_path / "scratch")


def test_a_cohort_of_another_shape(study: tuple[Reading, Path], tmp_path: Path) -> None:
    reading, cohort = study
    shutil.copytree(cohort, tmp_path / "cohort")
    path = tmp_path / "cohort/features/labs.parquet"
    x, names = read_features(path)
    write_features(x[:, ::-1], names[::-1], path, ["g/dL", "", "mmol/L"])
    found = read(reading, [tmp_path / "cohort"], tmp_path / "scratch").x["labs"]
    assert found is not None
    np.testing.assert_array_equal(found, x)  # by name, whatever the order
    units = reading.sources["labs"].model_copy(update={"units": ["mg/dL", "", ""]})
    other = reading.model_copy(update={"sources": {**reading.sources, "labs": units}})
    with pytest.raises(InputError, match=r"is in mmol/L, and in the study in mg/dL"):
        read(other, [tmp_path / "cohort"], tmp_path / "scratch")
    write_features(x[:, :2], names[:2], path)
    with pytest.raises(InputError, match=r"1 features of source `labs` are absent: `tnt`"):
        read(reading, [tmp_path / "cohort"], tmp_path / "scratch")
    path.unlink()
    with pytest.raises(InputError, match="the cohort has no source `labs`"):
        read(reading, [tmp_path / "cohort"], tmp_path / "scratch")
