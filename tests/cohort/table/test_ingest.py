"""The ``table`` source: joins, order, categories, formats; the two real studies that use it."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import arff

from m3h_pipeline.cohort.ingest import ingest, render_summary
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import (
    Subgroup,
    TableBlock,
    TableFile,
    TableSource,
    load_study,
    located_source,
)
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.files import read_features, read_json, read_samples, read_table

ROOT = Path(__file__).resolve().parents[3]
Rows = Sequence[Sequence[Any]]


class Cohort(NamedTuple):
    """What an ingestion wrote."""

    samples: pd.DataFrame
    features: dict[str, npt.NDArray[np.float32]]
    names: dict[str, list[str]]
    columns: pd.DataFrame
    summary: dict[str, Any]


def run(source: TableSource, out: Path, sources: Sequence[str] | None = None) -> Cohort:
    """Ingest, and read back what was written."""
    wanted = list(source.blocks) if sources is None else list(sources)
    summary = ingest_table(source, wanted, out, stream=io.StringIO())
    assert read_json(out / "summary.json") == summary
    assert (out / "quarantine.tsv").read_text() == "file\tline\treason\n"
    assert sorted(path.stem for path in (out / "features").iterdir()) == sorted(wanted)
    assert not (out / "diagnoses.parquet").exists()
    read = {name: read_features(out / "features" / f"{name}.parquet") for name in wanted}
    return Cohort(
        read_samples(out / "samples.parquet").to_pandas(),
        {name: x for name, (x, _) in read.items()},
        {name: names for name, (_, names) in read.items()},
        read_table(out / "columns.parquet").to_pandas(),
        summary,
    )


def table(path: Path, header: Sequence[str], rows: Rows, delimiter: str = ",") -> str:
    """Write a delimited file; None becomes an empty field."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def one(path: str, *, id: str | None = None, **rest: Any) -> TableSource:  # noqa: A002
    """A source of one file."""
    return TableSource(files=[TableFile(path=path, id=id)], **rest)


# --- joins and order -------------------------------------------------------------------------------------

_ID = st.integers(0, 40).map(lambda i: f"s{i}")
_VALUE = st.one_of(st.none(), st.floats(-(2.0**99), 2.0**99, width=32))
_FILE = st.lists(st.tuples(_ID, _VALUE, _VALUE), min_size=1, max_size=25, unique_by=lambda row: row[0])


@settings(max_examples=25, deadline=None)
@given(first=_FILE, second=_FILE, data=st.data())
def test_a_join_is_a_left_merge_whatever_the_order_of_the_rows(
    first: list[Any], second: list[Any], data: st.DataObject
) -> None:
    """Pandas is the referee; shuffling both files changes no byte of the cohort."""
    anchor = ("s0", 1.0, 2.0)  # at least one sample with all values: an empty source is an error
    first = [anchor, *(row for row in first if row[0] != "s0")]
    second = [anchor, *(row for row in second if row[0] != "s0")]
    a = pd.DataFrame(first, columns=["id", "a", "b"], dtype=object)
    b = pd.DataFrame(second, columns=["key", "c", "d"], dtype=object)
    expected = a.merge(b, how="left", left_on="id", right_on="key").sort_values("id", ignore_index=True)
    written: list[dict[str, bytes]] = []
    for rows in (first, second), (data.draw(st.permutations(first)), data.draw(st.permutations(second))):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            one_file = table(folder / "one.csv", ["id", "a", "b"], rows[0])
            other = table(folder / "two.tsv", ["key", "c", "d"], rows[1], "\t")
            source = TableSource(
                files=[TableFile(path=one_file, id="id"), TableFile(path=other, id="key")],
                blocks={"x": TableBlock(pattern="[acd]")},
                columns=["b"],
            )
            cohort = run(source, folder / "out")
            written.append({p.name: p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()})
    assert written[0] == written[1]
    assert cohort.samples["sample_id"].tolist() == expected["id"].tolist()
    assert cohort.samples["patient_id"].tolist() == expected["id"].tolist()
    assert cohort.samples["stay_id"].isna().all()
    assert cohort.names["x"] == ["a", "c", "d"]
    np.testing.assert_array_equal(cohort.features["x"], expected[["a", "c", "d"]].to_numpy(np.float32))
    np.testing.assert_array_equal(cohort.columns["b"].to_numpy(float), expected["b"].to_numpy(float))
    surplus = len(set(b["key"]) - set(a["id"]))
    assert cohort.summary["ignored"]["rows"] == surplus
    shown = render_summary(cohort.summary)
    assert f"two.tsv: {small_count(len(b))} rows" in shown
    assert ("rows that belong to no sample" in shown) == (surplus > 0)
    assert cohort.summary["files"] == [
        {"file": "one.csv", "rows": len(a), "samples_without": 0, "ignored_rows": 0},
        {
            "file": "two.tsv",
            "rows": len(b),
            "samples_without": len(set(a["id"]) - set(b["key"])),
            "ignored_rows": surplus,
        },
    ]


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.sampled_from(["", "NA", "a", "b", "B", "10", "9", " a "]), min_size=1, max_size=30))
def test_categories_are_the_columns_pandas_makes(values: list[str]) -> None:
    """One 0/1 column per value in sorted order; a missing value is missing in all of them."""
    values = ["b", *values]
    with tempfile.TemporaryDirectory() as name:
        path = table(Path(name) / "t.csv", ["kind", "n"], [(value, i) for i, value in enumerate(values)])
        source = one(path, blocks={"x": TableBlock(columns=["kind", "n"], categorical=["kind"])})
        cohort = run(source, Path(name) / "out")
    cleaned = pd.Series([None if v in {"", "NA"} else v.strip() for v in values], dtype=object)
    dummies = pd.get_dummies(cleaned, dtype=float)
    dummies[cleaned.isna()] = np.nan
    assert cohort.names["x"] == [*(f"kind={value}" for value in dummies.columns), "n"]
    assert list(dummies.columns) == sorted(dummies.columns)
    np.testing.assert_array_equal(cohort.features["x"][:, :-1], dummies.to_numpy(np.float32))


def test_a_category_is_missing_where_the_file_lacks_the_sample(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", ["id", "v"], [["p2", 1], ["p1", 2], ["p3", 3]])
    b = table(tmp_path / "b.csv", ["id", "k"], [["p3", "x"], ["p1", "y"], ["p9", "only elsewhere"]])
    source = TableSource(
        files=[TableFile(path=a, id="id"), TableFile(path=b, id="id")],
        blocks={"x": TableBlock(columns=["k", "v"], categorical=["k"])},
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.names["x"] == ["k=x", "k=y", "v"]
    nan = np.nan
    np.testing.assert_array_equal(
        cohort.features["x"], np.array([[0, 1, 2], [nan, nan, 1], [1, 0, 3]], np.float32)
    )


def test_many_files_join_and_more_rows_than_one_chunk(tmp_path: Path) -> None:
    n = 9000  # more than two chunks of the writer
    order = np.random.default_rng(0).permutation(n)
    files = []
    for j in range(3):
        path = table(
            tmp_path / f"{j}.csv", ["id", f"f{j}"], [[f"{i:05d}", i + j / 4] for i in np.roll(order, j)]
        )
        files.append(TableFile(path=path, id="id"))
    cohort = run(TableSource(files=files, blocks={"x": TableBlock(pattern="f.")}), tmp_path / "out")
    expected = np.arange(n)[:, None] + np.arange(3) / 4
    np.testing.assert_array_equal(cohort.features["x"], expected.astype(np.float32))


# --- identifiers -----------------------------------------------------------------------------------------


def test_row_numbers_are_padded_so_that_they_sort_as_numbers(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["v", "w"], [[i, 0] for i in range(11)])
    cohort = run(one(path, blocks={"x": TableBlock(columns=["v"])}), tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == [f"{i:02d}" for i in range(1, 12)]
    assert cohort.features["x"][:, 0].tolist() == list(range(11))


def test_patients_stays_and_subgroups_come_from_named_columns_of_any_file(tmp_path: Path) -> None:
    a = table(
        tmp_path / "a.csv",
        ["id", "who", "v"],
        [["3", "10.0", 1], ["1", "10", 2], ["2", "11", 3], ["4", "7", 4]],
    )
    b = table(
        tmp_path / "b.csv",
        ["id", "stay", "sex", "site"],
        [["1.0", 91.0, 0, "B"], ["2.0", 92, "1.0", "A"], ["3.0", None, "1", None]],
    )
    source = TableSource(
        files=[TableFile(path=a, id="id"), TableFile(path=b, id="id")],
        patient_id="who",
        stay_id="stay",
        blocks={"x": TableBlock(columns=["v", "sex"])},
        subgroups={
            "sex": Subgroup(column="sex", values={"0": "female", "1": "male"}),
            "site": Subgroup(column="site"),
        },
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.samples.astype(object).where(cohort.samples.notna(), None).to_numpy().tolist() == [
        ["1", "10", "91", "female", "B"],
        ["2", "11", "92", "male", "A"],
        ["3", "10", None, "male", None],
        ["4", "7", None, None, None],
    ]
    np.testing.assert_array_equal(
        cohort.features["x"], np.array([[2, 0], [3, 1], [1, 1], [4, np.nan]], np.float32)
    )
    assert (cohort.summary["patients"], cohort.summary["stays"]) == (3, 2)


# --- which columns ---------------------------------------------------------------------------------------


def test_a_pattern_leaves_out_columns_of_other_use_and_says_which_labels(tmp_path: Path) -> None:
    header = ["", "id", "who", "sex", "died", "days", "g1", "g2", "Unnamed: 0"]
    rows = [[0, "a", "p", 0, 1, 5.5, 0.1, 0.2, 7], [1, "b", "q", 1, 0, None, 0.3, 0.4, 8]]
    source = one(
        table(tmp_path / "t.csv", header, rows),
        id="id",
        patient_id="who",
        blocks={"x": TableBlock(pattern=".*", exclude=["g2"])},
        columns=["died", "days"],
        subgroups={"sex": Subgroup(column="sex")},
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.names["x"] == ["g1"]
    assert cohort.summary["ignored"]["label_columns"] == ["died", "days"]
    assert cohort.summary["ignored"]["columns"] == ["", "g2", "Unnamed: 0"]


def test_listed_columns_stand_first_and_only_wanted_sources_are_read(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["a1", "a2", "a3", "b"], [[1, 2, 3, "text"]])
    blocks = {"a": TableBlock(pattern="a.", columns=["a3"]), "unused": TableBlock(columns=["b", "absent"])}
    cohort = run(one(path, blocks=blocks), tmp_path / "out", ["a"])
    assert cohort.names["a"] == ["a3", "a1", "a2"]
    assert cohort.features["a"].tolist() == [[3, 1, 2]]
    assert cohort.summary["ignored"]["unused_sources"] == ["unused"]


def test_a_pattern_is_of_the_whole_name(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["g", "g1", "xg", "G"], [[1, 2, 3, 4]])
    cohort = run(one(path, blocks={"x": TableBlock(pattern="g|x")}), tmp_path / "out")
    assert cohort.names["x"] == ["g"]


def test_file_says_which_of_two_columns_of_one_name(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", ["id", "v"], [["p", 1]])
    b = table(tmp_path / "b.csv", ["id", "v"], [["p", 2]])
    files = [TableFile(path=a, id="id"), TableFile(path=b, id="id")]
    blocks = {"x": TableBlock(columns=["v"], file=1), "y": TableBlock(pattern="v", file=0)}
    cohort = run(TableSource(files=files, blocks=blocks), tmp_path / "out")
    assert (cohort.features["x"].item(), cohort.features["y"].item()) == (2, 1)


def test_label_columns_are_numbers_if_they_can_be(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.csv",
        ["f", "number", "mixed", "text", "empty"],
        [[1, "07", "1", "poor", ""], [2, "NA", "II", "[Unknown]", ""], [3, " 2.5 ", "", "good", "NA"]],
    )
    columns = ["mixed", "number", "text", "empty"]
    source = one(path, blocks={"x": TableBlock(columns=["f"])}, columns=columns)
    run(source, tmp_path / "out")
    written = read_table(tmp_path / "out" / "columns.parquet")
    assert written.to_pydict() == {
        "mixed": ["1", "II", None],
        "number": [7.0, None, 2.5],
        "text": ["poor", None, "good"],
        "empty": [None, None, None],
    }
    assert [field.type for field in written.schema] == [pa.string(), pa.float64(), pa.string(), pa.float64()]


def test_a_study_without_label_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["a", "b"], [[1, 2], [3, 4]])
    cohort = run(one(path, blocks={"x": TableBlock(pattern=".")}), tmp_path / "out")
    assert len(cohort.columns.columns) == 0


# --- values ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False, max_value=3e38, min_value=-3e38),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)
def test_numbers_are_read_exactly_and_outliers_stay(numbers: list[float], blanks: bool) -> None:
    """Also with blanks, which the fast path refuses for missing values."""
    rows: list[list[Any]] = [[repr(x), "NA"] for x in numbers] + [
        ["1", " NA " if blanks else "NA"],
        ["1", "3"],
    ]
    with tempfile.TemporaryDirectory() as name:
        path = table(Path(name) / "t.csv", ["v", "w"], rows)
        cohort = run(one(path, blocks={"x": TableBlock(columns=["v", "w"])}), Path(name) / "out")
    np.testing.assert_array_equal(cohort.features["x"][:-2, 0], np.array(numbers).astype(np.float32))
    assert np.isnan(cohort.features["x"][:-1, 1]).all()


def test_missing_values_are_those_of_the_configuration(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["v", "k", "y"], [["-9", "-9", "-9"], ["1", "u", "2"]])
    block = TableBlock(columns=["v", "k"], categorical=["k"])
    cohort = run(one(path, blocks={"x": block}, columns=["y"], missing_values=["-9"]), tmp_path / "out")
    np.testing.assert_array_equal(cohort.features["x"], np.array([[np.nan, np.nan], [1, 1]], np.float32))
    assert cohort.columns["y"].isna().tolist() == [True, False]
    assert cohort.summary["sources"]["x"]["missing"] == 0.5


def test_quoted_line_ends_byte_order_marks_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfid,v,note\r\nb,1,"two\nlines, one field"\r\n\r\na,2,x\r\n')
    source = one(str(path), id="id", blocks={"x": TableBlock(columns=["v"])}, columns=["note"])
    cohort = run(source, tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["a", "b"]
    assert cohort.features["x"][:, 0].tolist() == [2, 1]
    assert cohort.columns["note"].tolist() == ["x", "two\nlines, one field"]


# --- formats ---------------------------------------------------------------------------------------------

_DATA: Mapping[str, list[Any]] = {
    "id": [30000001, 10000002, 20000003],
    "v": [0.1, None, -3.5],
    "whole": [1, 2, None],
    "flag": [1, 0, 1],
    "kind": ["b", "a", None],
    "y": ["high", None, "low"],
}


def _parquet(path: Path) -> None:
    frame = pa.table(
        {
            "id": pa.array([float(i) for i in _DATA["id"]], pa.float64()),
            "v": pa.array(_DATA["v"], pa.float64()),
            "whole": pa.array(_DATA["whole"], pa.int16()),
            "flag": pa.array([bool(flag) for flag in _DATA["flag"]], pa.bool_()),
            "kind": pa.array(_DATA["kind"], pa.string()).dictionary_encode(),
            "y": pa.array(_DATA["y"], pa.large_string()),
            "y.more": pa.array([0, 0, 0]),
        }
    )
    pq.write_table(frame, path)


def _arff(path: Path) -> None:
    rows = zip(*(_DATA[name] for name in _DATA), strict=True)
    lines = [",".join("?" if value is None else str(value) for value in row) for row in rows]
    header = (
        "% a comment\n@relation t\n@attribute id numeric\n@attribute v numeric\n@attribute whole numeric\n"
    )
    header += "@attribute flag {0,1}\n@attribute kind {a,b}\n@attribute y {high,low}\n@data\n% a comment\n\n"
    path.write_text(header + "\n".join(lines) + "\n")


def _write(path: Path) -> None:
    rows = list(zip(*(_DATA[name] for name in _DATA), strict=True))
    if ".parquet" in path.name or ".pq" in path.name:
        _parquet(path)
    elif ".arff" in path.name:
        _arff(path)
    else:
        table(
            path.with_suffix("") if path.suffix == ".gz" else path,
            list(_DATA),
            rows,
            "," if "csv" in path.name else "\t",
        )
        if path.suffix == ".gz":
            path.write_bytes(path.with_suffix("").read_bytes())
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize(
    "name",
    [
        "t.csv",
        "t.tsv",
        "t.tab",
        "t.csv.gz",
        "t.TSV",
        "t.parquet",
        "t.pq",
        "t.parquet.gz",
        "t.arff",
        "t.arff.gz",
    ],
)
def test_a_table_means_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    _write(tmp_path / name)
    source = one(
        str(tmp_path / name),
        id="id",
        blocks={"x": TableBlock(columns=["v", "whole", "flag", "kind"], categorical=["kind"])},
        columns=["y"],
        subgroups={
            "kind": Subgroup(column="kind"),
            "flag": Subgroup(column="flag", values={"1": "yes", "0": "no"}),
        },
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["10000002", "20000003", "30000001"]
    assert cohort.samples["kind"].astype(object).where(cohort.samples["kind"].notna(), None).tolist() == [
        "a",
        None,
        "b",
    ]
    assert cohort.samples["flag"].tolist() == ["no", "yes", "yes"]
    nan = np.nan
    expected = np.array([[nan, 2, 0, 1, 0], [-3.5, nan, 1, nan, nan], [0.1, 1, 1, 0, 1]], np.float32)
    np.testing.assert_array_equal(cohort.features["x"], expected)
    assert cohort.columns["y"].astype(object).where(cohort.columns["y"].notna(), None).tolist() == [
        None,
        "low",
        "high",
    ]


def test_a_compressed_file_without_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    cohort = run(one(str(path), blocks={"x": TableBlock(pattern=".")}), tmp_path / "out")
    assert cohort.features["x"].tolist() == [[1, 2]]


def _shipped() -> Path:
    """The folder of scikit-survival's data sets, without importing scikit-survival."""
    spec = importlib.util.find_spec("sksurv")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


@pytest.mark.parametrize("name", sorted(path.name for path in _shipped().glob("*.arff")))
def test_arff_of_a_package_as_loadarff_reads_it(name: str, tmp_path: Path) -> None:
    """Every column of every data set that scikit-survival carries."""
    data, meta = arff.loadarff(io.StringIO((_shipped() / name).read_text()))
    numeric = next(n for n in meta.names() if meta[n][0] == "numeric")
    labels = [n for n in meta.names() if n != numeric]
    source = one(
        f"python:sksurv/datasets/data/{name}", blocks={"x": TableBlock(columns=[numeric])}, columns=labels
    )
    cohort = run(source, tmp_path / "out")
    np.testing.assert_array_equal(cohort.features["x"][:, 0], data[numeric].astype(np.float32))
    for label in labels:
        if meta[label][0] == "numeric":
            np.testing.assert_array_equal(cohort.columns[label].to_numpy(float), data[label])
            continue
        expected = [None if value in {b"?", b"NA"} else value.decode() for value in data[label]]
        if cohort.columns[label].dtype == np.float64:
            expected_numbers = [np.nan if value is None else float(value) for value in expected]
            np.testing.assert_array_equal(cohort.columns[label].to_numpy(), expected_numbers)
        else:
            assert [None if pd.isna(v) else v for v in cohort.columns[label]] == expected


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
    text = (_shipped() / "breast_cancer_GSE7390-metastasis.arff").read_text()
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
    np.testing.assert_array_equal(x, genes.to_numpy(np.float32))
    assert x.max() > 30_000  # the outliers are the model's business
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
