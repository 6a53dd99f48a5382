"""Kinds of values that were read in one way in one format and in another way in the next."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import Subgroup, TableBlock, TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables import textfile
from tests.cohort.table.files import Cohort, one, run

CASES = Path(__file__).resolve().parents[4] / "shared/cases"


def parquet(kind: pa.DataType) -> Callable[[Path, Sequence[Any]], Path]:
    """A writer of a table of one column `a` beside whole numbers."""

    def write(folder: Path, values: Sequence[Any]) -> Path:
        table = pa.table({"a": pa.array(values, kind), "b": list(range(len(values)))})
        pq.write_table(table, folder / "t.parquet")
        return folder / "t.parquet"

    return write


def text(ending: str, delimiter: str = ",") -> Callable[[Path, Sequence[Any]], Path]:
    """The same of a text table."""

    def write(folder: Path, values: Sequence[Any]) -> Path:
        lines = [f"a{delimiter}b", *(f"{value}{delimiter}{i}" for i, value in enumerate(values))]
        (folder / f"t{ending}").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder / f"t{ending}"

    return write


def weka(kind: str) -> Callable[[Path, Sequence[Any]], Path]:
    """The same of ARFF."""

    def write(folder: Path, values: Sequence[Any]) -> Path:
        rows = "\n".join(f"'{value}',{i}" for i, value in enumerate(values))
        head = f"@relation t\n@attribute a {kind}\n@attribute b numeric\n@data\n"
        (folder / "t.arff").write_text(head + rows + "\n", encoding="utf-8")
        return folder / "t.arff"

    return write


def ingested(path: Path, folder: Path, missing: Sequence[str] = ()) -> Cohort:
    block = TableBlock(columns=["a", "b"])
    return run(one(str(path), blocks={"x": block}, columns=[], missing_values=list(missing)), folder / "out")


@pytest.mark.parametrize("declared", ["-9", "-9.0", " -9", "-9e0"])
@pytest.mark.parametrize(
    ("write", "nine"),
    [
        (text(".csv"), "-9"),
        (text(".csv"), "-9.0"),
        (text(".tsv", "\t"), "-9.00"),
        (text(".csv"), " -9 "),
        (weka("numeric"), "-9."),
        (parquet(pa.float64()), -9.0),
        (parquet(pa.float32()), -9.0),
        (parquet(pa.int8()), -9),
        (parquet(pa.decimal128(6, 2)), decimal.Decimal("-9.00")),
        (parquet(pa.string()), "-9.0"),
        (parquet(pa.dictionary(pa.int8(), pa.string())), "-9"),
    ],
    ids=range(11),
)
def test_a_number_that_means_missing_is_found_however_it_is_written(
    write: Callable[[Path, Sequence[Any]], Path], nine: Any, declared: str, tmp_path: Path
) -> None:
    two: Any = str(2) if isinstance(nine, str) else type(nine)(2)
    cohort = ingested(write(tmp_path, [nine, two, nine]), tmp_path, [declared])
    np.testing.assert_array_equal(np.isnan(cohort.features["x"][:, 0]), [True, False, True])


def test_a_narrow_fraction_that_means_missing(tmp_path: Path) -> None:
    cohort = ingested(parquet(pa.float32())(tmp_path, [-9.1, 1.0]), tmp_path, ["-9.1"])
    assert np.isnan(cohort.features["x"][:, 0]).tolist() == [True, False]


def test_numbers_need_no_quotes_in_the_list_of_the_study() -> None:
    source = {
        "files": [{"path": "t.csv"}],
        "blocks": {"x": {"columns": ["a"]}},
        "missing_values": [-9, 0.5, "x"],
    }
    assert TableSource.model_validate(source).missing_values == ["-9", "0.5", "x"]


@pytest.mark.usefixtures("no_value_is_rare")
@pytest.mark.parametrize(
    ("write", "values"),
    [
        (text(".csv"), ["True", "False", ""]),
        (text(".csv"), ["TRUE", "FALSE", "NA"]),
        (text(".tsv", "\t"), ["true", "false", "."]),
        (text(".csv"), ["1", "0", "null"]),
        (weka("{True,False}"), ["True", "False", "None"]),
        (weka("numeric"), ["1", "0", "-"]),
        (parquet(pa.bool_()), [True, False, None]),
        (parquet(pa.string()), ["true", "False", None]),
        (parquet(pa.int8()), [1, 0, None]),
    ],
)
def test_truths_are_one_and_zero(
    write: Callable[[Path, Sequence[Any]], Path], values: Sequence[Any], tmp_path: Path
) -> None:
    path = write(tmp_path, values)
    groups = {
        "own": Subgroup(column="a"),
        "words": Subgroup(column="a", values={"True": "yes", "false": "no"}),
        "digits": Subgroup(column="a", values={"1": "yes", "0": "no"}),
    }
    source = one(str(path), blocks={"x": TableBlock(columns=["a", "b"])}, subgroups=groups)
    cohort = run(source, tmp_path / "out")
    np.testing.assert_array_equal(cohort.features["x"][:, 0], np.array([1, 0, np.nan], np.float32))
    assert cohort.samples["own"].tolist()[:2] == ["1", "0"]
    assert cohort.samples["words"].tolist()[:2] == cohort.samples["digits"].tolist()[:2] == ["yes", "no"]
    category = one(str(path), blocks={"x": TableBlock(columns=["a"], categorical=["a"])}, columns=[])
    assert run(category, tmp_path / "category").names["x"] == ["a=0", "a=1"]
    label = run(one(str(path), blocks={"x": TableBlock(columns=["b"])}, columns=["a"]), tmp_path / "label")
    np.testing.assert_array_equal(label.columns["a"], [1, 0, np.nan])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("12_5", "underscores"),
        ("1e5_0", "underscores"),
        ("0x1F", "decimal"),
        ("1,5", "point"),
        ("1,234.5", "separators"),
        ("1 234", "separators"),
        ("\u0661\u0662", "0 to 9"),
        ("\uff11", "0 to 9"),
        ("\u22125", "minus"),
        ("5 %", "units"),
        ("5mg/dl", "units"),
        ("<5", "limit"),
        ("2020-01-31", "a date"),
        ("1d5", "'1d5'"),
        ("--5", "'--5'"),
    ],
)
@pytest.mark.parametrize(
    "write", [text(".tsv", "\t"), weka("string"), parquet(pa.string()), parquet(pa.string_view())]
)
def test_what_looks_like_a_number_and_is_none(
    write: Callable[[Path, Sequence[Any]], Path], value: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="text where a number is expected") as caught:
        ingested(write(tmp_path, ["1", "2.5", value, "-3", "4"]), tmp_path)
    assert why in caught.value.what
    assert ("2020" in caught.value.what) is False


@pytest.mark.parametrize("value", ["+5", "5.", ".5e1", "5E0", "0005", "5.000", " 5 "])
@pytest.mark.parametrize("write", [text(".csv"), weka("real"), parquet(pa.string())])
def test_numbers_in_other_words(
    write: Callable[[Path, Sequence[Any]], Path], value: str, tmp_path: Path
) -> None:
    assert ingested(write(tmp_path, ["1", value]), tmp_path).features["x"][:, 0].tolist() == [1, 5]


DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=9 * i) for i in range(40)]
DATES: dict[str, Callable[[Path], Path]] = {
    "iso": lambda folder: text(".csv")(folder, DAYS),
    "iso and time": lambda folder: text(".csv")(folder, [f"{day} 10:15:00" for day in DAYS]),
    "iso with T and zone": lambda folder: text(".csv")(folder, [f"{day}T10:15:00.5+01:00" for day in DAYS]),
    "german": lambda folder: text(".csv")(folder, [f"{day:%d.%m.%Y}" for day in DAYS]),
    "british": lambda folder: text(".tsv", "\t")(folder, [f"{day:%d/%m/%y}" for day in DAYS]),
    "american with time": lambda folder: text(".csv")(folder, [f"{day:%m/%d/%Y} 1:05 PM" for day in DAYS]),
    "oracle": lambda folder: text(".csv")(folder, [f"{day:%d-%b-%Y}" for day in DAYS]),
    "time of day": lambda folder: text(".csv")(folder, [f"{i % 24:02d}:15:00" for i in range(40)]),
    "time deltas of pandas": lambda folder: text(".csv")(folder, [f"{i} days 02:00:00" for i in range(40)]),
    "some unknown": lambda folder: text(".csv")(folder, [*DAYS, "unclear", "later"]),
    "weka": lambda folder: weka("date 'yyyy-MM-dd'")(folder, DAYS),
    "weka strings": lambda folder: weka("string")(folder, DAYS),
    "parquet dates": lambda folder: parquet(pa.date32())(folder, DAYS),
    "parquet strings": lambda folder: parquet(pa.large_string())(folder, list(map(str, DAYS))),
    "parquet timestamps": lambda folder: parquet(pa.timestamp("us", tz="UTC"))(folder, list(range(40))),
    "parquet times": lambda folder: parquet(pa.time32("s"))(folder, list(range(40))),
    "parquet durations": lambda folder: parquet(pa.duration("s"))(folder, list(range(40))),
}


@pytest.mark.parametrize("name", DATES)
def test_dates_are_refused_in_every_use(name: str, tmp_path: Path) -> None:
    path = str(DATES[name](tmp_path))
    rest = {"x": TableBlock(columns=["b"])}
    uses = [
        one(path, blocks={"x": TableBlock(pattern=".+")}),
        one(path, blocks={"x": TableBlock(columns=["a", "b"], categorical=["a"])}),
        one(path, blocks=rest, columns=["a"]),
        one(path, blocks=rest, subgroups={"when": Subgroup(column="a")}),
    ]
    for source in uses:
        with pytest.raises(InputError, match="`a` holds dates or times") as caught:
            ingest_table(source, ["x"], tmp_path / "out", stream=io.StringIO())
        assert "put a number in its place" in str(caught.value.hint)
    # A column that nobody uses is in nobody's way.
    assert run(one(path, blocks=rest), tmp_path / "out").names["x"] == ["b"]


@pytest.mark.usefixtures("no_value_is_rare")
@pytest.mark.parametrize(
    "values", [["1:20", "1:40"], ["120/80", "130/85"], ["2010-11", "2011-12"], ["3.1.x", "3.10.x"]]
)
def test_what_only_looks_like_a_date_is_a_category(values: list[str], tmp_path: Path) -> None:
    path = text(".csv")(tmp_path, values)
    source = one(str(path), blocks={"x": TableBlock(columns=["a"], categorical=["a"])})
    assert run(source, tmp_path / "out").names["x"] == [f"a={value}" for value in sorted(values)]


# --- files ----------------------------------------------------------------------------------------------


def _zipped(inside: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(inside, "a,b\n1,2\n")
    return stream.getvalue()


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".arff", ".parquet"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_zipped("t.csv"), "zip archive"),
        (_zipped("xl/workbook.xml"), "Excel"),
        (gzip.compress(_zipped("t.csv"), mtime=0), "zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "Excel"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"BZh91AY", "bzip2"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\n<!doctype html><html>", "web page"),
    ],
    ids=["zip", "xlsx", "zip in gzip", "xls", "utf-16", "bzip2", "hdf5", "html"],
)
def test_a_file_under_the_name_of_another(ending: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / f"t{ending}").write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        ingested(tmp_path / f"t{ending}", tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("ends", [b"\r", b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_every_kind_of_line_end(ends: bytes, last: bool, packed: bool, tmp_path: Path) -> None:
    content = ends.join([b"a,b", b"1,2", b'"3",4']) + ends * last
    (tmp_path / "t.csv").write_bytes(gzip.compress(content) if packed else content)
    assert ingested(tmp_path / "t.csv", tmp_path).features["x"].tolist() == [[1, 2], [3, 4]]


def test_the_line_of_an_error_among_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\r1,2\r3,4,5\r")
    with pytest.raises(InputError, match=r"3 fields instead of 2") as caught:
        ingested(tmp_path / "t.csv", tmp_path)
    assert str(caught.value.where).endswith("line 3")


def test_what_unpacks_to_absurdly_much_is_no_matter_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfile, "_LARGEST_UNPACKED", 1 << 20)
    for name in ("t.csv", "t.arff", "t.parquet"):
        (tmp_path / name).write_bytes(gzip.compress(b"a,b\n" + b"0,0\n" * (1 << 20)))
        with pytest.raises(InputError, match="500 times its size") as caught:
            ingested(tmp_path / name, tmp_path)
        assert "unpack it" in str(caught.value.hint)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("file", ["NFC", "NFD"])
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arff"])
def test_composed_and_decomposed_names_are_the_same(
    form: Any, file: Any, ending: str, tmp_path: Path
) -> None:
    name, value = unicodedata.normalize(file, "größe"), unicodedata.normalize(file, "früh")
    path = tmp_path / f"t{ending}"
    if ending == ".parquet":
        pq.write_table(pa.table({name: [1.5, 2.5], "k": [value, "x"]}), path)
    elif ending == ".arff":
        path.write_text(f"@attribute {name} numeric\n@attribute k {{{value},x}}\n@data\n1.5,{value}\n2.5,x\n")
    else:
        path.write_text(f"{name},k\n1.5,{value}\n2.5,x\n")
    asked = unicodedata.normalize(form, "größe")
    source = TableSource.model_validate(
        {
            "files": [{"path": str(path)}],
            "blocks": {"x": {"columns": [asked]}},
            "subgroups": {"when": {"column": "k", "values": {unicodedata.normalize(form, "früh"): "early"}}},
        }
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.features["x"].tolist() == [[1.5], [2.5]]
    assert cohort.samples["when"].tolist()[0] == "early"


@pytest.mark.parametrize("case", ["s1", "s2", "s3", "s6", "t3"])
def test_cases_from_outside(case: str, tmp_path: Path) -> None:
    if not (CASES / case).is_dir():
        pytest.skip("no cases: the folder ../shared/cases does not exist beside the project")
    (path,) = (CASES / case).glob("t.*")
    key = "sample" if case == "s6" else "id"
    missing = [] if case == "t3" else ["-9"]
    blocks = {"x": TableBlock(columns=["a", "b"])}
    cohort = run(
        one(str(path), id=key, blocks=blocks, columns=["y"], missing_values=missing), tmp_path / "out"
    )
    absent = np.isnan(cohort.features["x"]).sum(0).tolist()
    assert (len(cohort.samples), absent) == (240, [0, 0] if case == "t3" else [0, 40])
