"""The ``table`` source: what is a sample, what is not, and how files meet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.cohort.ingest import ingest, render_summary
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource, load_study, located_source
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_features, read_samples
from tests.cohort.table.files import Cohort, run, table
from tests.conftest import REAL_DATA

PATIENTS = [f"P{i:03d}" for i in range(6)]
CLINICAL = [[name, i, i % 2] for i, name in enumerate(PATIENTS)]


def source(*files: dict[str, Any], **rest: Any) -> TableSource:
    return TableSource.model_validate({"files": list(files), **rest})


def refused(wrong: TableSource, out: Path) -> str:
    with pytest.raises(InputError) as caught:
        ingest_table(wrong, list(wrong.blocks), out, stream=io.StringIO())
    return str(caught.value)


# --- columns of annotation -------------------------------------------------------------------------------


def expression(
    folder: Path,
    annotation: Sequence[str],
    ending: str = "tsv",
    genes: Sequence[str] = ("TP53", "MYC", "ESR1"),
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Expression with genes in rows and columns of annotation, clinical data, and blocks of both."""
    header = ["Hugo_Symbol", *annotation, *PATIENTS]
    rows = [
        [gene, *(1000 + k for _ in annotation), *(10 * k + j for j in range(len(PATIENTS)))]
        for k, gene in enumerate(genes)
    ]
    path = folder / f"e.{ending}"
    if ending == "parquet":
        pd.DataFrame(rows, columns=header).to_parquet(path)
    else:
        table(path, header, rows, "," if "csv" in ending else "\t")
    clinical = table(folder / "c.csv", ["id", "age", "y"], CLINICAL)
    blocks = {"g": {"pattern": "[A-Z].*", "file": 0}, "z": {"columns": ["age"]}}
    return (
        {"path": str(path), "id": "sample", "transposed": True},
        {"path": clinical, "id": "id"},
        {"blocks": blocks, "columns": ["y"]},
    )


@pytest.mark.parametrize("ending", ["tsv", "csv.gz", "parquet"])
@pytest.mark.parametrize(
    "annotation", [["Entrez_Gene_Id"], ["Description"], ["Cytoband", "Strand"], ["ENTREZID", "Chr", "Length"]]
)
def test_a_column_of_annotation_is_no_patient(tmp_path: Path, annotation: list[str], ending: str) -> None:
    genes, clinical, rest = expression(tmp_path, annotation, ending)
    message = refused(source(genes, clinical, **rest), tmp_path / "out")
    for name in annotation:
        assert f"`{name}`" in message
    assert "e." in message
    assert "source.files.0.annotation" in message
    cohort = run(source({**genes, "annotation": annotation}, clinical, **rest), tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == PATIENTS
    np.testing.assert_array_equal(cohort.features["g"][:, 1], 10 + np.arange(6))
    # `inner` says it, too; `left` and `outer` keep what only the first file knows, because they say so.
    inner = run(source(genes, {**clinical, "join": "inner"}, **rest), tmp_path / "inner")
    assert inner.samples["sample_id"].tolist() == PATIENTS
    assert inner.summary["files"][1]["dropped_samples"] == len(annotation)
    assert f"samples dropped as it lacks them {small_count(len(annotation))}" in render_summary(inner.summary)
    for join in ("left", "outer"):
        kept = run(source(genes, {**clinical, "join": join}, **rest), tmp_path / join)
        assert set(kept.samples["sample_id"]) == {*PATIENTS, *annotation}


def test_the_features_may_be_named_by_another_column_than_the_first(tmp_path: Path) -> None:
    genes, clinical, rest = expression(tmp_path, ["Symbol"])
    path = Path(genes["path"])
    path.write_text(path.read_text().replace("\t1000\t", "\tBRCA1\t").replace("\t1001\t", "\tBRCA2\t"))
    genes |= {"symbols": "Symbol", "annotation": ["Hugo_Symbol"]}
    cohort = run(source(genes, clinical, **rest), tmp_path / "out")
    assert cohort.names["g"][:2] == ["BRCA1", "BRCA2"]
    assert cohort.samples["sample_id"].tolist() == PATIENTS


def test_annotation_that_is_not_there_is_said(tmp_path: Path) -> None:
    genes, clinical, rest = expression(tmp_path, [])
    genes |= {"annotation": ["Hugo_Symbo"]}
    assert "did you mean `Hugo_Symbol`" in refused(source(genes, clinical, **rest), tmp_path / "out")


# --- how files meet --------------------------------------------------------------------------------------

_NAMES = st.sets(st.integers(0, 12), min_size=1, max_size=10)


@settings(max_examples=25, deadline=None)
@given(
    first=_NAMES,
    second=_NAMES,
    third=_NAMES,
    joins=st.tuples(*[st.sampled_from(["left", "inner", "outer", None])] * 2),
)
def test_joins_are_set_operations_whatever_the_order_of_the_files(
    tmp_path_factory: pytest.TempPathFactory,
    first: set[int],
    second: set[int],
    third: set[int],
    joins: tuple[str | None, str | None],
) -> None:
    """0 stands in all files, so that each has a row of a sample."""
    held = [{0, *first}, {0, *second}, {0, *third}]
    folder = tmp_path_factory.mktemp("joins")
    files = [
        {
            "path": table(folder / f"{i}.csv", ["id", f"v{i}"], [[n, n] for n in names]),
            "id": "id",
            "join": join,
        }
        for i, (names, join) in enumerate(zip(held, (None, *joins), strict=True))
    ]
    study = source(*files, blocks={"x": {"pattern": "v."}})
    counts = {n: sum(n in names for names in held) for n in set().union(*held)}
    unsaid = {n for names, join in zip(held[1:], joins, strict=True) if join is None for n in names}
    unsaid |= held[0] if None in joins else set()
    if alone := {n for n in unsaid if counts[n] == 1}:
        message = refused(study, folder / "out")
        assert "in no other file" in message
        assert any(f"`{n}`" in message for n in alone)
        return
    expected = held[0].union(*(names for names, join in zip(held[1:], joins, strict=True) if join == "outer"))
    for names, join in zip(held[1:], joins, strict=True):
        expected &= names if join == "inner" else expected
    cohort = run(study, folder / "out")
    assert cohort.samples["sample_id"].tolist() == sorted(map(str, expected))
    for i, names in enumerate(held):
        seen = {int(n) for n in cohort.samples["sample_id"][~np.isnan(cohort.features["x"][:, i])]}
        assert seen == expected & names
        assert cohort.summary["files"][i]["samples_without"] == len(expected - names)
    added = [file["added_samples"] for file in cohort.summary["files"][1:]]
    assert added == [
        len((names & expected) - held[0]) if join == "outer" else 0
        for names, join in zip(held[1:], joins, strict=True)
    ]


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet"])
@pytest.mark.parametrize("on", [None, "patient"])
def test_patients_of_one_file_belong_to_samples_of_another(
    tmp_path: Path, ending: str, on: str | None
) -> None:
    """Many to one, with or without `on`; pandas is the referee. A patient without a sample is left out."""
    samples = pd.DataFrame(
        {
            "sample": [f"P{i // 2}-{i % 2}" for i in range(8)],
            "patient": [f"P{i // 2}" for i in range(8)],
            "a": np.arange(8.0),
        }
    )
    patients = pd.DataFrame(
        {"patient": ["P3", "P0", "P2", "P1", "P9"], "b": np.arange(5.0), "y": [1, 0, 0, 1, 1]}
    )
    paths = {"one": samples, "two": patients}
    for name, frame in paths.items():
        path = tmp_path / f"{name}.{ending}"
        frame.to_parquet(path) if ending == "parquet" else frame.to_csv(
            path, index=False, sep="\t" if ending == "tsv" else ","
        )
    study = source(
        {"path": str(tmp_path / f"one.{ending}"), "id": "sample"},
        {"path": str(tmp_path / f"two.{ending}"), "id": "patient", "on": on},
        blocks={"x": {"columns": ["a"]}, "z": {"columns": ["b"]}},
        columns=["y"],
        patient_id="patient",
    )
    cohort = run(study, tmp_path / "out")
    expected = samples.merge(patients, on="patient")
    assert cohort.samples["sample_id"].tolist() == expected["sample"].tolist()
    assert cohort.samples["patient_id"].tolist() == expected["patient"].tolist()
    np.testing.assert_array_equal(cohort.features["z"][:, 0], expected["b"])
    assert cohort.columns["y"].tolist() == expected["y"].tolist()
    assert cohort.summary["files"][1]["ignored_rows"] == 1


def test_a_row_may_be_shared_over_two_steps(tmp_path: Path) -> None:
    one = table(tmp_path / "1.csv", ["s", "p"], [["s1", "p1"], ["s2", "p2"], ["s3", "p1"]])
    two = table(tmp_path / "2.csv", ["person", "site"], [["p1", "north"], ["p2", "south"]])
    three = table(tmp_path / "3.csv", ["name", "beds"], [["south", 5], ["north", 7]])
    study = source(
        {"path": one, "id": "s"},
        {"path": two, "id": "person", "on": "p"},
        {"path": three, "id": "name", "on": "site"},
        blocks={"x": {"columns": ["beds"]}},
        patient_id="p",
    )
    assert run(study, tmp_path / "out").features["x"][:, 0].tolist() == [7, 5, 7]


def test_one_to_many_is_refused_with_the_lines_and_what_to_do(tmp_path: Path) -> None:
    one = table(tmp_path / "1.csv", ["patient", "y"], [["p1", 1], ["p2", 0]])
    two = table(
        tmp_path / "2.csv", ["sample", "patient", "a"], [["s1", "p1", 1], ["s2", "p1", 2], ["s3", "p2", 3]]
    )
    study = source(
        {"path": one, "id": "patient"}, {"path": two, "id": "patient"}, blocks={"x": {"columns": ["a"]}}
    )
    message = refused(study, tmp_path / "out")
    for text in ("column `patient`", "2.csv, lines 2, 3", "make it the first file", "`on: patient`"):
        assert text in message
    # What the message says to do.
    turned = source(
        {"path": two, "id": "sample"},
        {"path": one, "id": "patient", "on": "patient"},
        blocks={"x": {"columns": ["a"]}},
        columns=["y"],
        patient_id="patient",
    )
    assert run(turned, tmp_path / "out").columns["y"].tolist() == [1, 1, 0]


def test_rows_of_patients_joined_as_if_of_samples_are_told_how(tmp_path: Path) -> None:
    one = table(tmp_path / "1.csv", ["s", "p", "a"], [["s1", "p1", 1], ["s2", "p2", 2]])
    two = table(tmp_path / "2.csv", ["p", "b"], [["p1", 1], ["p2", 2]])
    study = source({"path": one, "id": "s"}, {"path": two, "id": "p"}, blocks={"x": {"columns": ["b"]}})
    assert "say `on: p`" in refused(study, tmp_path / "out")


# --- one column in several files -------------------------------------------------------------------------


def two_exports(folder: Path, theirs: Sequence[str], join: str | None = None) -> TableSource:
    one = table(folder / "1.csv", ["enc", "mrn", "y"], [["e1", "m1", 1], ["e2", "m2", 0], ["e3", "", 1]])
    rows = [[f"e{i + 1}", name, i] for i, name in enumerate(theirs)]
    two = table(folder / "2.csv", ["enc", "mrn", "lab"], rows)
    return source(
        {"path": one, "id": "enc"},
        {"path": two, "id": "enc", "join": join},
        blocks={"x": {"pattern": ".+", "file": 1}},
        columns=["y"],
        patient_id="mrn",
    )


@pytest.mark.parametrize("theirs", [["m1", "m2", "m3"], [" m1", "", "m3"], ["", "m2 ", "m3"]])
def test_an_identifier_may_stand_in_several_files(tmp_path: Path, theirs: list[str]) -> None:
    """Where one file is silent, the other counts; it is never a feature."""
    cohort = run(two_exports(tmp_path, theirs), tmp_path / "out")
    assert cohort.samples["patient_id"].tolist() == ["m1", "m2", "m3"]
    assert cohort.names["x"] == ["lab"]


def test_files_that_give_a_sample_to_two_patients_are_refused(tmp_path: Path) -> None:
    message = refused(two_exports(tmp_path, ["m1", "m7", "m3"]), tmp_path / "out")
    for text in ("column `mrn`", "1 sample(s)", "1.csv, line 3", "2.csv, line 3", "annotation: [mrn]"):
        assert text in message
    assert "m7" not in message


# --- rows without a key ----------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["", "NA", " ", "NaN"])
def test_rows_without_a_key_are_set_aside_and_counted(tmp_path: Path, absent: str) -> None:
    rows = [["a", "m1", 1], [absent, "m2", 2], ["c", absent, 3], ["d", "m4", 4]]
    path = table(tmp_path / "t.csv", ["id", "mrn", "v"], rows)
    study = source({"path": path, "id": "id"}, blocks={"x": {"columns": ["v"]}}, patient_id="mrn")
    cohort = run(study, tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["a", "d"]
    assert cohort.summary["ignored"]["without_key"] == 2
    assert (tmp_path / "out/quarantine.tsv").read_text().splitlines()[1:] == [
        "t.csv\t3\tno id in column `id`",
        "t.csv\t4\tno patient in column `mrn`",
    ]
    assert f"rows without id or patient set aside: {small_count(2)}" in render_summary(cohort.summary)
    few = study.model_copy(update={"max_malformed": 1})
    message = refused(few, tmp_path / "few")
    assert "more than 1 rows have no key" in message
    assert "source.max_malformed" in message


@pytest.mark.usefixtures("no_value_is_rare")
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_a_header_that_repeats_is_no_sample(tmp_path: Path, name: str) -> None:
    """Where a number is expected it is one that is wrong, by its line."""
    header, delimiter = ["id", "ward", "y"], "\t" if name.endswith("tsv") else ","
    path = table(tmp_path / name, header, [["a", "n", 1], header, ["b", "s", 0]], delimiter)
    block = {"columns": ["ward"], "categorical": ["ward"]}
    cohort = run(source({"path": path, "id": "id"}, blocks={"x": block}, columns=["y"]), tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["a", "b"]
    assert "the header again" in (tmp_path / "out/quarantine.tsv").read_text()
    numbers = source({"path": path, "id": "id"}, blocks={"x": {"columns": ["y"]}})
    assert f"{name}, line 3" in refused(numbers, tmp_path / "wrong")


# --- genes that stand several times ----------------------------------------------------------------------


def repeated(folder: Path, kind: str, genes: Sequence[str]) -> dict[str, Any]:
    """A file in which genes stand several times; the value of gene k of sample j is 10 k + j."""
    x = np.array([[10.0 * k + j for k in range(len(genes))] for j in range(len(PATIENTS))])
    if kind == "h5ad":
        obs = pd.DataFrame({"age": np.arange(6.0)}, index=pd.Index(PATIENTS, dtype=object))
        var = pd.DataFrame(index=pd.Index(list(genes), dtype=object))
        with pytest.warns(UserWarning, match="not unique"):
            anndata.AnnData(x, obs=obs, var=var).write_h5ad(folder / "t.h5ad")
        return {"path": str(folder / "t.h5ad"), "id": "sample"}
    if kind == "symbols":
        obs = pd.DataFrame(index=pd.Index(PATIENTS, dtype=object))
        index = pd.Index([f"ENSG{k}" for k in range(len(genes))], dtype=object)
        var = pd.DataFrame({"symbol": pd.Index(list(genes), dtype=object)}, index=index)
        anndata.AnnData(x, obs=obs, var=var).write_h5ad(folder / "t.h5ad")
        return {"path": str(folder / "t.h5ad"), "id": "sample", "symbols": "symbol"}
    if kind == "rows":
        return {
            "path": table(folder / "t.csv", ["sample", *genes], np.c_[PATIENTS, x].tolist()),
            "id": "sample",
        }
    path = table(folder / "t.tsv", ["gene", *PATIENTS], np.c_[list(genes), x.T].tolist(), "\t")
    return {"path": path, "id": "sample", "transposed": True}


@pytest.mark.parametrize("kind", ["transposed", "h5ad", "symbols", "rows"])
@pytest.mark.parametrize(
    ("genes", "strip"),
    [
        (["TP53", "MYC", "TP53"], False),
        (["A", "A", "A", "B"], True),
        (["B", "A", "A"], False),
        (["A", "A.2", "A", "B.1", "B.1"], True),
    ],
)
def test_genes_that_stand_again_are_merged_before_anything_renames_them(
    tmp_path: Path, kind: str, genes: list[str], strip: bool
) -> None:
    file = repeated(tmp_path, kind, genes)
    block = {"pattern": "[A-Z].*", "genes": {"duplicates": "mean", "strip_version": strip}}
    cohort = run(source(file, blocks={"x": block}), tmp_path / "out")
    assert cohort.names["x"] == list(dict.fromkeys(genes))
    place = np.array(
        [[np.mean([10 * k for k, g in enumerate(genes) if g == name]) for name in cohort.names["x"]]]
    )
    np.testing.assert_allclose(cohort.features["x"], place + np.arange(6)[:, None])
    listed = {"columns": [genes[-1]], "genes": {"duplicates": "first"}}
    assert run(source(file, blocks={"x": listed}), tmp_path / "out").names["x"] == [genes[-1]]
    left = {"pattern": "[A-Z].*", "exclude": list(set(genes[1:])), "genes": {"duplicates": "mean"}}
    if set(genes[1:]) != set(genes):
        found = run(source(file, blocks={"x": left}), tmp_path / "out").names["x"]
        assert found == [g for g in genes if g not in genes[1:]]
    for wrong, says in (
        ({"pattern": "[A-Z].*", "genes": {"strip_version": strip}}, "times"),
        ({"pattern": "[A-Z].*"}, "times in the header"),
    ):
        message = refused(source(file, blocks={"x": wrong}), tmp_path / "wrong")
        twice = [g for g in genes if genes.count(g) > 1]
        assert says in message
        assert any(f"`{g}`" in message for g in twice)
        assert "duplicates: mean" in message


# --- names of samples in AnnData -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "own", [[f"donor{i % 3}" for i in range(6)], PATIENTS, PATIENTS[::-1], list(range(6))]
)
def test_obs_may_have_a_column_sample(tmp_path: Path, own: list[Any]) -> None:
    """`sample` is the index of `obs`; the column is `obs:sample`."""
    obs = pd.DataFrame({"sample": own, "y": np.arange(6)}, index=pd.Index(PATIENTS, dtype=object))
    obs["sample"] = obs["sample"].astype(object) if isinstance(own[0], str) else obs["sample"]
    var = pd.DataFrame(index=pd.Index(["a", "b"], dtype=object))
    anndata.AnnData(np.ones((6, 2)), obs=obs, var=var).write_h5ad(tmp_path / "t.h5ad")
    study = source(
        {"path": str(tmp_path / "t.h5ad"), "id": "sample"},
        blocks={"x": {"columns": ["a", "b"]}},
        columns=["y"],
        patient_id="obs:sample",
    )
    cohort = run(study, tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == PATIENTS
    assert cohort.samples["patient_id"].tolist() == list(map(str, own))
    assert cohort.columns["y"].tolist() == list(range(6))


# --- the cases as they are -------------------------------------------------------------------------------

CASES = REAL_DATA.parent / "cases"


def as_given(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cohort | str:
    if not CASES.is_dir():
        pytest.skip("no cases: the folder ../shared/cases does not exist beside the project")
    monkeypatch.chdir(CASES.parents[1] / "shared")
    study = load_study(CASES / case / "study.yaml")
    found = located_source(study.model_copy(update={"data": str(CASES / case)}))
    assert isinstance(found, TableSource)
    try:
        summary = ingest(found, list(found.blocks), tmp_path / "out", stream=io.StringIO())
    except InputError as error:
        return str(error)
    names = {name: read_features(tmp_path / f"out/features/{name}.parquet")[1] for name in found.blocks}
    samples = read_samples(tmp_path / "out/samples.parquet").to_pandas()
    return Cohort(samples, {}, names, pd.DataFrame(), summary)


@pytest.mark.parametrize(
    ("case", "patients", "features"),
    [
        ("e1", None, None),
        ("e4", 240, {"g": ["TP53", "MYC"], "z": ["age"]}),
        (
            "e5",
            240,
            {"g": ["TP53", "MYC", "RP11-34P13.7", "RP11-34P13.8", "AC114498.1", "AC114498.2"], "z": ["age"]},
        ),
        ("h1b", 240, {"x": ["a", "b"]}),
        ("h6", 240, {"x": ["a", "b"]}),
        ("i8", 120, {"x": ["a"], "z": ["b"]}),
    ],
)
def test_the_cases_are_read_right(
    case: str,
    patients: int | None,
    features: dict[str, list[str]] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = as_given(case, tmp_path, monkeypatch)
    if isinstance(found, str):
        assert patients is None
        assert "`Entrez_Gene_Id`" in found
        return
    assert (found.summary["rows"], found.summary["patients"], found.names) == (240, patients, features)


# --- values beyond what can be measured -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        *((text, "csv") for text in ("<5", "< 5", "<=5", "<5.0", "≤5", "<0.5e1")),
        ("<5", "parquet"),
        ("< 5", "transposed"),
    ],
)
@pytest.mark.parametrize(("rule", "value"), [("number", 5.0), ("half", 2.5), ("missing", np.nan), (None, 0)])
def test_limits_of_measurement_become_what_the_study_says(
    tmp_path: Path, text: str, rule: str | None, value: float, ending: str
) -> None:
    above = text.replace("<", ">").replace("≤", "≥")
    rows = [["a", text, 1], ["b", "14.7", 2], ["c", above, 3], ["d", "", 4], ["e", text, 5], ["f", "7", 6]]
    frame = pd.DataFrame(rows, columns=["id", "hs-TnT", "n"])
    file: dict[str, Any] = {"path": str(tmp_path / "t.csv"), "id": "id"}
    if ending == "parquet":
        file["path"] = str(tmp_path / "t.parquet")
        frame.to_parquet(file["path"])
    elif ending == "transposed":
        file |= {"id": "sample", "transposed": True}
        frame.set_index("id").T.rename_axis("gene").to_csv(file["path"])
    else:
        frame.to_csv(file["path"], index=False)
    study = source(file, blocks={"x": {"columns": ["hs-TnT", "n"]}}, limits=rule)
    if rule is None:
        message = refused(study, tmp_path / "out")
        assert "column `hs-TnT`" in message
        assert "source.limits" in message
        return
    cohort = run(study, tmp_path / "out")
    upper = value if rule == "missing" else 5.0
    expected = np.array([value, 14.7, upper, np.nan, value, 7], np.float32)
    np.testing.assert_array_equal(cohort.features["x"][:, 0], expected)
    assert cohort.summary["limits"] == {"taken_as": rule, "values": {"hs-TnT": 3}}
    assert f"each taken as `{rule}`: hs-TnT {small_count(3)}" in render_summary(cohort.summary)


def test_what_is_no_limit_stays_wrong(tmp_path: Path) -> None:
    for text in ("<LOD", "5<", "<5 mg", "<<5", "< ", "~5", "5-7"):
        path = table(tmp_path / "t.csv", ["v", "w"], [[1, 1], [text, 2], [3, 3]])
        study = source({"path": path}, blocks={"x": {"columns": ["v", "w"]}}, limits="number")
        assert "column `v` holds text" in refused(study, tmp_path / "out")
