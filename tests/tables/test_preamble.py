"""Text files whose table does not begin on the first line: comments, GEO's series matrix, STRING's spaces."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.genes.networks import read_network
from tests.cohort.table.files import run


def source(path: Path, **more: Any) -> TableSource:
    file = {"path": str(path), "id": "PATIENT_ID", **more}
    return TableSource.model_validate({"files": [file], "blocks": {"x": {"columns": ["AGE", "OS_MONTHS"]}}})


def refused(wrong: TableSource, out: Path) -> str:
    with pytest.raises(InputError) as caught:
        ingest_table(wrong, ["x"], out, stream=io.StringIO())
    return str(caught.value)


ROWS = "PATIENT_ID\tAGE\tOS_MONTHS\nP1\t61\t12.5\nP2\t47\t\nP3\t55\t3\n"
CBIOPORTAL = (
    "#Patient Identifier\tAge\tOverall survival (months)\n#Identifier of the patient\tAge\tMonths\n"
    "#STRING\tNUMBER\tNUMBER\n#1\t1\t1\n"
)


@pytest.mark.parametrize(
    "before",
    [
        "",
        CBIOPORTAL,
        "#version 2.4\n",
        '"#exported 2024-01-01, ward 3"\n\n# all patients\n',
        "\ufeff# with a byte order mark\n",
        "\n",
        '# a comment with a " quotation mark\n',
    ],
)
@pytest.mark.parametrize(("name", "end"), [("data.tsv", "\n"), ("data.txt.gz", "\r\n"), ("data.csv", "\n")])
def test_lines_before_the_header_are_no_rows(tmp_path: Path, before: str, name: str, end: str) -> None:
    rows = ROWS.replace("\t", ",") if name.endswith(".csv") else ROWS
    text = (before + rows).replace("\n", end)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    cohort = run(source(path), tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["P1", "P2", "P3"]
    np.testing.assert_array_equal(
        cohort.features["x"], np.array([[61, 12.5], [47, np.nan], [55, 3]], np.float32)
    )
    # Messages count the lines of the file.
    path.write_bytes(text.replace("55", "5S").encode())
    line = 1 + text[: text.index("P3")].count("\n")
    assert f"{name}, line {line}" in refused(source(path), tmp_path / "wrong")
    path.write_bytes((text + "P4\n").encode())
    assert f"line {line + 1}" in refused(source(path), tmp_path / "wrong")


def test_excel_says_which_delimiter_it_used(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sep=,\n" + ROWS.replace("\t", ","))
    assert run(source(path), tmp_path / "out").samples["sample_id"].tolist() == ["P1", "P2", "P3"]


def test_a_column_may_be_called_by_the_sign_of_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for name in ("#", '"#"'):
        path.write_text(f"{name},AGE,OS_MONTHS\nP1,61,1\nP2,47,2\n")
        cohort = run(source(path, id="#"), tmp_path / "out")
        assert cohort.samples["sample_id"].tolist() == ["P1", "P2"]


@pytest.mark.parametrize("first", ["#FID\tIID\tAGE", "#CHROM\tPOS\tREF", "#PATIENT_ID\tAGE\tOS_MONTHS"])
def test_a_comment_that_may_be_the_header_is_asked_for(tmp_path: Path, first: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"##made by a tool\n{first}\nP1\t61\t12.5\nP2\t47\t1\n")
    message = refused(source(path), tmp_path / "out")
    for text in ("line 2 begins with `#`", "line 3 looks like values", "`header: 2`"):
        assert text in message
    if "PATIENT_ID" in first:
        cohort = run(source(path, header=2), tmp_path / "out")
        assert cohort.samples["sample_id"].tolist() == ["P1", "P2"]


def test_the_header_stands_where_the_study_says(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("Report of ward 3\tJanuary\t\n\t\t\n" + ROWS)
    assert "column `PATIENT_ID`" in refused(source(path), tmp_path / "out")
    assert run(source(path, header=3), tmp_path / "out").samples["sample_id"].tolist() == ["P1", "P2", "P3"]
    assert "there is no line 99" in refused(source(path, header=99), tmp_path / "out")


# --- GEO -------------------------------------------------------------------------------------------------

SERIES = (
    '!Series_title\t"Breast cancer; ""node-negative"""\n!Series_geo_accession\t"GSE0"\n\n'
    '!Sample_title\t"a"\t"b"\n!Sample_characteristics_ch1\t"er: 1"\t"er: 0"\n!series_matrix_table_begin\n'
)
MATRIX = '"ID_REF"\t"GSM1"\t"GSM2"\n"1007_s_at"\t7.5\t8.25\n"TP53"\t\t-1\n'
END = "!series_matrix_table_end\n"


def geo(path: Path) -> TableSource:
    file = {"path": str(path), "id": "sample", "transposed": True}
    return TableSource.model_validate({"files": [file], "blocks": {"x": {"pattern": ".+"}}})


@pytest.mark.parametrize("name", ["GSE0_series_matrix.txt", "GSE0_series_matrix.txt.gz", "m.tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("after", ["", "\n", "\n\n"])
def test_a_series_matrix_of_geo(tmp_path: Path, name: str, end: str, after: str) -> None:
    data = (SERIES + MATRIX + END + after).replace("\n", end).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    cohort = run(geo(path), tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["GSM1", "GSM2"]
    assert cohort.names["x"] == ["1007_s_at", "TP53"]
    np.testing.assert_array_equal(cohort.features["x"], np.array([[7.5, np.nan], [8.25, -1]], np.float32))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SERIES + MATRIX, "the table has no end"),
        (SERIES.replace("!series_matrix_table_begin\n", ""), "no `!series_matrix_table_begin`"),
        ("^DATABASE = GeoMiame\n!Database_name = GEO\n", "SOFT file"),
        ("^SERIES = GSE0\n", "series matrix"),
    ],
)
def test_what_is_no_series_matrix(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "m.txt"
    path.write_text(text)
    message = refused(geo(path), tmp_path / "out")
    assert says in message
    assert "to do:" in message


def test_a_long_matrix_ends_where_it_says(tmp_path: Path) -> None:
    """More than one block of the reader."""
    n = 40_000
    rows = "".join(f'"g{i}"\t{i}\t{i + 0.5}\n' for i in range(n))
    path = tmp_path / "m.txt"
    path.write_text(SERIES + MATRIX.splitlines()[0] + "\n" + rows + END)
    cohort = run(geo(path), tmp_path / "out")
    np.testing.assert_array_equal(cohort.features["x"], np.arange(n) + np.array([[0], [0.5]], np.float32))


# --- STRING ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["9606.protein.links.txt", "9606.protein.links.txt.gz"])
@pytest.mark.parametrize("delimiter", [" ", "\t", ","])
def test_a_network_as_string_gives_it(tmp_path: Path, name: str, delimiter: str) -> None:
    lines = ["protein1 protein2 combined_score", "9606.A 9606.B 490", "9606.B 9606.C 200"]
    data = ("\n".join(lines).replace(" ", delimiter) + "\n").encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    network = read_network(str(path), ["9606.A", "9606.B", "9606.C", "9606.D"])
    assert network.genes == ["9606.A", "9606.B", "9606.C"]


def test_spaces_in_a_file_of_another_ending_are_told_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "links.csv"
    path.write_text("protein1 protein2 combined_score\n9606.A 9606.B 490\n")
    with pytest.raises(InputError, match=r"separated by spaces(.|\n)*name the file .txt"):
        read_network(str(path), ["9606.A", "9606.B"])
