"""What a user sees when a ``table`` source is wrong: the message, no identifiers in it, nothing written."""

from __future__ import annotations

import errno
import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.cohort.table.features import MOST_CATEGORIES
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import Subgroup, TableBlock, TableFile, TableSource
from m3h_pipeline.errors import ConfigError, InputError, M3HError
from m3h_pipeline.files import read_features, read_samples
from m3h_pipeline.tables.dates import DatesError

#: Identifiers of the tables below; they may stand in no message.
SECRETS = ("secret1", "secret2", "secret3", "Jane Roe", "1950-01-02")
ONE = "id,who,a,b,kind,y\nsecret1,w1,1,2,x,0\nsecret2,w1,3,4,y,1\nsecret3,w2,,6,x,0\n"
TWO = "id,c\nsecret3,0.3\nsecret1,0.1\n"


class Case(NamedTuple):
    """Files, the configuration's deviations from a good one, and what the message says."""

    error: type[M3HError]
    says: list[str]
    files: dict[str, str | bytes]
    source: dict[str, Any]


def block(**keys: Any) -> dict[str, Any]:
    """One block `x`."""
    return {"blocks": {"x": TableBlock(**keys)}}


def edited(old: str, new: str, text: str = ONE) -> dict[str, str | bytes]:
    """The first file with one text replaced."""
    assert text.count(old) >= 1
    return {"one.csv": text.replace(old, new, 1)}


def parquet(**columns: Any) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def arff(rows: str, attributes: str = "@attribute a numeric\n@attribute k {u,v}\n") -> dict[str, str | bytes]:
    """An ARFF file whose data start on line 6."""
    return {"t.arff": f"% comment\n@relation t\n{attributes}@data\n{rows}"}


FILES = {"files": [TableFile(path="one.csv", id="id"), TableFile(path="two.csv", id="id", join="left")]}
NO_ID = {"files": [TableFile(path="one.csv")]}
ARFF = {
    "files": [TableFile(path="t.arff")],
    "blocks": {"x": TableBlock(columns=["a", "k"], categorical=["k"])},
}


def only(path: str, name: str | None = None) -> dict[str, Any]:
    """One file and a block that takes what it has."""
    return {"files": [TableFile(path=path, id=name)], "blocks": {"x": TableBlock(pattern=".+")}}


CASES: dict[str, Case] = {
    # Values that would pass one by one.
    "a truth among numbers": Case(
        InputError,
        ["column `b` holds true or false among numbers other than 1 and 0", "one.csv, line 3"],
        edited("3,4,y", "3,TRUE,y"),
        {},
    ),
    "a truth among the numbers of a label": Case(
        InputError,
        ["column `y` holds true or false among numbers", "one.csv, line 4"],
        {"one.csv": ONE.replace("x,0", "x,7").replace("6,x,7", "6,x,False")},
        {},
    ),
    "identifiers that were floats": Case(
        InputError,
        ["column `id` holds identifiers as floats", "one.csv, line 3", "as text or as whole numbers"],
        {"one.csv": ONE.replace("secret2", "1.2345678901234568e+18")},
        {},
    ),
    "patients that were floats": Case(
        InputError, ["column `who` holds identifiers as floats"], edited("w1", "9007199254740994.0"), {}
    ),
    "identifiers that are floats": Case(
        InputError,
        ["column `id` holds identifiers as floats", "t.parquet, row 2"],
        {"t.parquet": parquet(id=[1.0, 2.0**53], a=[1.0, 2.0])},
        only("t.parquet", "id"),
    ),
    # Files.
    "missing file": Case(InputError, ["does not exist", "gone.csv"], {}, only("gone.csv")),
    "folder": Case(InputError, ["folder", "sub.csv"], {"sub.csv/x": "1"}, only("sub.csv")),
    "empty file": Case(InputError, ["empty", "one.csv"], {"one.csv": ""}, {}),
    "header only": Case(InputError, ["no row", "one.csv"], {"one.csv": "id,who,a,b,kind,y\n"}, {}),
    "header without line end": Case(InputError, ["no row", "one.csv"], {"one.csv": "id,who,a,b,kind,y"}, {}),
    "truncated gzip": Case(
        InputError,
        ["truncated", "t.csv.gz"],
        {
            "t.csv.gz": gzip.compress(("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(9999))).encode())[
                :-20
            ]
        },
        only("t.csv.gz"),
    ),
    "truncated parquet": Case(
        InputError, ["Parquet", "t.parquet"], {"t.parquet": parquet(a=[1.0, 2.0])[:-9]}, only("t.parquet")
    ),
    "no parquet": Case(InputError, ["Parquet", "t.parquet"], {"t.parquet": ONE}, only("t.parquet")),
    "unknown ending": Case(ConfigError, [".xlsx", ".parquet", ".arff"], {"t.xlsx": "a"}, only("t.xlsx")),
    "no ending": Case(ConfigError, ["no ending", ".csv"], {"table": "a"}, only("table")),
    "unknown package": Case(InputError, ["nosuchpackage", "pip"], {}, only("python:nosuchpackage/x.csv")),
    "no package": Case(InputError, ["not installed"], {}, only("python:../x.csv")),
    "absent in package": Case(InputError, ["no such file"], {}, only("python:m3h_pipeline/x.csv")),
    "not utf-8": Case(
        InputError, ["UTF-8", "one.csv"], {"one.csv": ONE.replace("x", "\xe4").encode("latin1")}, {}
    ),
    "header not utf-8": Case(
        InputError, ["UTF-8", "one.csv"], {"one.csv": ONE.replace("b", "\xe4").encode("latin1")}, {}
    ),
    # Delimiters and lines.
    "semicolons": Case(
        InputError, ["semicolon", "comma", "one.csv, line 1"], {"one.csv": ONE.replace(",", ";")}, {}
    ),
    "semicolons without id": Case(
        InputError, ["semicolon", "one.csv, line 1"], {"one.csv": ONE.replace(",", ";")}, only("one.csv")
    ),
    "tabs in csv": Case(InputError, ["tab", "comma", ".tsv"], {"one.csv": ONE.replace(",", "\t")}, {}),
    "commas in tsv": Case(InputError, ["comma", "tab", ".csv"], {"t.tsv": ONE}, only("t.tsv")),
    "bars among commas": Case(
        InputError, ["vertical bar"], {"one.csv": "id|who|a,b|kind|y\n1|2|3|4|5\n"}, {}
    ),
    "too many fields": Case(
        InputError, ["7 fields instead of 6", "one.csv, line 3"], edited("secret2,w1", "secret2,w1,9"), {}
    ),
    "too few fields": Case(InputError, ["5 fields instead of 6", "line 4"], edited("w2,,6", "w2,6"), {}),
    "quoted line end before the wrong line": Case(
        InputError,
        ["5 fields", "line 7"],
        edited("w2,,6", "w2,6", ONE.replace(",x,0\ns", ',"x\n\n",0\n\ns', 1)),
        {},
    ),
    "wrong line with a quoted line end": Case(
        InputError,
        ["7 fields", "one.csv, line 3"],
        edited("secret2,w1,3,4,y", 'secret2,w1,3,4,"y\ny",z'),
        {},
    ),
    "line end in a column name": Case(InputError, ["line end"], edited("kind", '"ki\nnd"'), {}),
    "column twice": Case(InputError, ["`a`", "2 times"], edited(",b,", ",a,"), block(columns=["a"])),
    # Values.
    "text in a number": Case(
        InputError, ["`a`", "'3,5'", "one.csv, line 3", "missing_values"], edited(",3,", ',"3,5",'), {}
    ),
    "text in a number of the second file": Case(
        InputError, ["`c`", "'<0.1'", "two.csv, line 3"], {"two.csv": TWO.replace("0.1", "<0.1")}, FILES
    ),
    "words in a number": Case(
        InputError,
        ["`b`", "line 2"],
        {"one.csv": ONE.replace(",2,", ",Jane Roe,").replace(",4,", ",J. Doe,").replace(",6,", ",?,")},
        {},
    ),
    "dates of birth": Case(
        DatesError,
        ["`b`", "dates", "exclude", "years of age"],
        {"one.csv": ONE.replace(",2,", ",1950-01-02,").replace(",4,", ",1960-02-03,")},
        {},
    ),
    "long text": Case(InputError, ["`a`", "line 3"], edited(",3,", ",Jane Roe's long history,"), {}),
    "infinite": Case(InputError, ["`a`", "infinite", "one.csv, line 3"], edited(",3,", ",inf,"), {}),
    "infinite by size": Case(InputError, ["`b`", "infinite", "line 3"], edited(",4,", ",1e999,"), {}),
    "beyond float32": Case(InputError, ["`b`", "3.4e38", "line 4"], edited(",6,", ",-1e39,"), {}),
    "infinite label": Case(InputError, ["`y`", "infinite", "line 3"], edited("y,1\n", "y,-inf\n"), {}),
    "parquet of times": Case(
        DatesError,
        ["`t`", "dates", "exclude"],
        {"t.parquet": parquet(t=pa.array([0, 1], pa.timestamp("s")))},
        only("t.parquet"),
    ),
    "parquet of lists": Case(
        InputError,
        ["`t`", "list"],
        {"t.parquet": parquet(t=[[1], [2]], a=[1, 2])},
        {"files": [TableFile(path="t.parquet")], **block(columns=["a"]), "columns": ["t"]},
    ),
    "infinite in a later batch": Case(
        InputError,
        ["`a`", "t.parquet, row 9000"],
        {"t.parquet": parquet(a=[1.0] * 8999 + [float("inf")])},
        only("t.parquet"),
    ),
    "text in a later batch": Case(
        InputError,
        ["`a`", "'high'", "t.parquet, row 9000"],
        {"t.parquet": parquet(a=["1.0"] * 8999 + ["high"])},
        only("t.parquet"),
    ),
    "infinite in parquet": Case(
        InputError,
        ["`a`", "t.parquet, row 2"],
        {"t.parquet": parquet(a=[1.0, float("inf")])},
        only("t.parquet"),
    ),
    # ARFF.
    "arff without data": Case(InputError, ["@data"], {"t.arff": ONE}, ARFF),
    "arff of no known type": Case(
        InputError,
        ["`a`", "line 3", "string"],
        arff("1,u\n", "@attribute a text\n@attribute k {u,v}\n"),
        ARFF,
    ),
    "arff attribute without type": Case(InputError, ["line 3"], arff("1,u\n", "@attribute a\n"), ARFF),
    "sparse arff": Case(InputError, ["sparse", "line 6"], arff("{0 1, 1 u}\n"), ARFF),
    "arff quotation marks": Case(InputError, ["quotation", "line 7"], arff("1,u\n2,'u\n"), ARFF),
    "arff dates": Case(
        DatesError,
        ["`a`", "dates"],
        arff("2020-01-01,u\n", '@attribute a date "yyyy-MM-dd"\n@attribute k {u,v}\n'),
        ARFF,
    ),
    "text in an arff number": Case(
        InputError, ["`a`", "t.arff, line 9"], arff("1,u\n%\n2,v\nhigh,u\n3,u\n"), ARFF
    ),
    "undeclared arff value": Case(InputError, ["`k`", "line 7", "attribute"], arff("1,u\n2,w\n3,u\n"), ARFF),
    "arff line too long": Case(InputError, ["3 fields instead of 2", "line 7"], arff("1,u\n2,v,3\n"), ARFF),
    "arff line too short": Case(InputError, ["1 fields instead of 2", "line 6"], arff("1\n"), ARFF),
    "arff without rows": Case(InputError, ["no row"], arff(""), ARFF),
    # Identifiers and joins.
    "id twice": Case(InputError, ["`id`", "one.csv, lines 2, 4"], edited("secret3", "secret1"), {}),
    "id twice in the second file": Case(
        InputError, ["`id`", "two.csv, lines 2, 3"], {"two.csv": TWO.replace("secret3", "secret1")}, FILES
    ),
    "id twice as number and float": Case(
        InputError,
        ["lines 2, 3"],
        {"one.csv": "id,a\n7,1\n7.0,2\n"},
        {**block(columns=["a"]), "columns": [], "patient_id": None},
    ),
    "no id": Case(InputError, ["`id`", "line 3"], edited("secret2", " "), {"max_malformed": 0}),
    "no patient": Case(
        InputError, ["`who`", "no patient", "one.csv, line 3"], edited("w1,3", ",3"), {"max_malformed": 0}
    ),
    "no patient at all": Case(
        InputError, ["no sample has a patient"], {"one.csv": re.sub(r",w\d", ",", ONE)}, {}
    ),
    "no patient in the second file": Case(
        InputError,
        ["`p`", "no patient", "one.csv, line 3"],
        {"two.csv": "id,c,p\nsecret3,0.3,w\nsecret1,1,v\n"},
        {**FILES, "patient_id": "p", "max_malformed": 0},
    ),
    "no common id": Case(
        InputError, ["no row belongs", "two.csv"], {"two.csv": TWO.replace("secret", "other")}, FILES
    ),
    "join without id": Case(
        ConfigError,
        ["source.files.1.id", "joined"],
        {},
        {"files": [TableFile(path="one.csv", id="id"), TableFile(path="two.csv")]},
    ),
    "unknown id": Case(
        InputError,
        ["`idd`", "source.files.0.id", "`id`"],
        {},
        {"files": [TableFile(path="one.csv", id="idd")]},
    ),
    # Columns.
    "unknown listed column": Case(
        InputError, ["`kindd`", "did you mean `kind`"], {}, block(columns=["kindd"])
    ),
    "unknown listed column of two files": Case(
        InputError, ["`kindd`", "did you mean `kind`"], {}, {**FILES, **block(columns=["kindd"])}
    ),
    "unknown label column": Case(
        InputError, ["`source.columns`", "did you mean `kind`"], {}, {"columns": ["kinds"]}
    ),
    "unknown patient column": Case(InputError, ["`source.patient_id`", "`who`"], {}, {"patient_id": "whom"}),
    "unknown stay column": Case(InputError, ["`source.stay_id`"], {}, {"stay_id": "stay"}),
    "unknown subgroup column": Case(
        InputError, ["source.subgroups.sex", "valid: "], {}, {"subgroups": {"sex": Subgroup(column="gender")}}
    ),
    "unknown excluded column": Case(
        InputError, ["`kid`", "exclude", "`kind`"], {}, block(pattern=".", exclude=["kid"])
    ),
    "unknown column in two files": Case(
        InputError, ["`zz`", "one.csv", "two.csv"], {}, {**FILES, "columns": ["zz"]}
    ),
    "pattern without a match": Case(
        InputError,
        ["`bb.*`", "matches no column", "whole name", "did you mean `b`"],
        {},
        block(pattern="bb.*"),
    ),
    "pattern of other uses": Case(
        InputError, ["matches only identifiers, label inputs"], {}, block(pattern="id|who|y")
    ),
    "no regular expression": Case(
        ConfigError, ["regular expression", "source.blocks.x.pattern"], {}, block(pattern="(")
    ),
    "empty block": Case(ConfigError, ["neither `pattern` nor `columns`"], {}, block()),
    "label as feature": Case(
        ConfigError, ["`y`", "label that it shall predict"], {}, block(columns=["a", "y"])
    ),
    "patient as feature": Case(ConfigError, ["`who`", "identifier"], {}, block(columns=["a", "who"])),
    "id as feature": Case(ConfigError, ["`id`", "identifier"], {}, block(columns=["id"])),
    "listed and excluded": Case(ConfigError, ["`a`", "excluded"], {}, block(columns=["a"], exclude=["a"])),
    "categorical outside the block": Case(
        ConfigError, ["`kind`", "categorical"], {}, block(columns=["a"], categorical=["kind"])
    ),
    "no such file number": Case(
        ConfigError, ["no file 3", "source.blocks.x.file"], {}, block(pattern="a", file=3)
    ),
    "column in two blocks": Case(
        ConfigError,
        ["`b`", "blocks x and z"],
        {},
        {"blocks": {"x": TableBlock(columns=["b"]), "z": TableBlock(pattern="[ab]")}},
    ),
    "listed column in two files": Case(
        ConfigError,
        ["`a`", "`file`"],
        {"two.csv": TWO.replace(",c", ",a")},
        {**FILES, **block(columns=["a"])},
    ),
    "matched column in two files": Case(
        ConfigError,
        ["`a`", "`file`"],
        {"two.csv": TWO.replace(",c", ",a")},
        {**FILES, **block(pattern="[ab]")},
    ),
    "label column in two files": Case(
        InputError,
        ["`y`", "different things of <11 sample(s)", "one.csv, line 2", "two.csv, line 3", "annotation: [y]"],
        {"two.csv": TWO.replace(",c", ",y")},
        {**FILES, **block(pattern="[ab]")},
    ),
    "subgroup without its codes": Case(
        InputError,
        ["subgroup `sex`", "`kind`"],
        {},
        {"subgroups": {"sex": Subgroup(column="kind", values={"F": "female"})}},
    ),
    "too many categories": Case(
        InputError,
        ["`k`", "1,001 values"],
        {"one.csv": "k\n" + "".join(f"v{i}\n" for i in range(MOST_CATEGORIES + 1))},
        {**only("one.csv"), **block(columns=["k"], categorical=["k"]), "patient_id": None, "columns": []},
    ),
    "two features of one name": Case(
        ConfigError,
        ["`k=v`"],
        {"one.csv": "k,k=v\nv,1\n"},
        {**only("one.csv"), **block(pattern=".+", categorical=["k"]), "patient_id": None, "columns": []},
    ),
    "nothing but missing": Case(
        InputError,
        ["source `x`", "missing"],
        {"one.csv": "id,who,a,b,kind,y\n1,w,,2,x,0\n2,w,NA,1,y,1\n"},
        block(columns=["a"]),
    ),
    "no category": Case(
        InputError,
        ["source `x`", "missing"],
        {"one.csv": "id,who,a,b,kind,y\n1,w,,2,,0\n"},
        block(columns=["kind"], categorical=["kind"]),
    ),
}


def _lay(folder: Path, case: Case) -> TableSource:
    """Write the files of a case and build its source, paths joined to the folder."""
    for name, content in {"one.csv": ONE, "two.csv": TWO, **case.files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    usual: dict[str, Any] = {
        "files": [TableFile(path="one.csv", id="id")],
        "patient_id": "who",
        "blocks": {"x": TableBlock(columns=["a", "b", "kind"], categorical=["kind"])},
        "columns": ["y"],
    }
    if "files" in case.source and case.source["files"] is not FILES["files"]:
        usual |= {"patient_id": None, "columns": []}
    if case.source.get("files") is FILES["files"]:
        usual["blocks"] = {"x": TableBlock(pattern="[abc]")}
    merged = {**usual, **case.source}
    merged["files"] = [
        file if file.path.startswith("python:") else file.model_copy(update={"path": str(folder / file.path)})
        for file in merged["files"]
    ]
    return TableSource(**merged)


@pytest.mark.usefixtures("no_value_is_rare")
@pytest.mark.parametrize("name", list(CASES))
def test_what_a_user_sees(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source = _lay(tmp_path / "in", case)
    with pytest.raises(M3HError) as caught:
        ingest_table(source, list(source.blocks), tmp_path / "study" / "cohort", stream=io.StringIO())
    message = str(caught.value)
    assert type(caught.value) is case.error, message
    for text in case.says:
        assert text in message, message
    for secret in SECRETS:
        assert secret not in message
    assert "Traceback" not in message
    assert not re.search(r"Arrow|pyarrow|Row #", message), message
    assert not list((tmp_path / "study").rglob("*"))


@pytest.mark.parametrize("name", ["usual", "two files"])
def test_the_good_cases_that_the_bad_ones_deviate_from(name: str, tmp_path: Path) -> None:
    case = Case(InputError, [], {}, {} if name == "usual" else FILES)
    source = _lay(tmp_path / "in", case)
    assert ingest_table(source, ["x"], tmp_path / "cohort", stream=io.StringIO())["rows"] == 3


@pytest.mark.parametrize("ids", [[1.0, 9007199254740991.0], [2**53, 2**53 + 1], ["7e20", "9007199254740993"]])
def test_identifiers_with_all_their_digits(ids: list[Any], tmp_path: Path) -> None:
    case = Case(InputError, [], {"t.parquet": parquet(id=ids, a=[1.0, 2.0])}, only("t.parquet", "id"))
    source = _lay(tmp_path / "in", case)
    ingest_table(source, ["x"], tmp_path / "cohort", stream=io.StringIO())
    said = read_samples(tmp_path / "cohort/samples.parquet")["sample_id"].to_pylist()
    assert said == [str(int(one)) if isinstance(one, float) else str(one) for one in ids]


def test_a_column_of_truths_is_one_of_numbers(tmp_path: Path) -> None:
    case = Case(InputError, [], edited("1,2,x", "true,2,x", ONE.replace("3,4", "FALSE,4")), {})
    ingest_table(_lay(tmp_path / "in", case), ["x"], tmp_path / "cohort", stream=io.StringIO())
    x, _ = read_features(tmp_path / "cohort/features/x.parquet")
    assert x[:2, 0].tolist() == [1, 0]


def test_a_source_that_is_no_block(tmp_path: Path) -> None:
    source = _lay(tmp_path, Case(InputError, [], {}, {}))
    with pytest.raises(ConfigError, match="did you mean `x`"):
        ingest_table(source, ["x", "xx"], tmp_path / "cohort", stream=io.StringIO())


def test_at_most_ten_lines_are_named(tmp_path: Path) -> None:
    rows = "".join(f"secret{i % 100},1\n" for i in range(120))
    case = Case(InputError, [], {"one.csv": "id,a\n" + rows}, {**only("one.csv", "id")})
    with pytest.raises(InputError, match=r"lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 30 more"):
        ingest_table(_lay(tmp_path, case), ["x"], tmp_path / "cohort", stream=io.StringIO())


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["infinite", "nothing but missing", "no patient", "label as feature"])
def test_a_failure_leaves_an_earlier_cohort_as_it_was(name: str, tmp_path: Path) -> None:
    out = tmp_path / "study" / "cohort"
    ingest_table(_lay(tmp_path / "in", Case(InputError, [], {}, {})), ["x"], out, stream=io.StringIO())
    before = _snapshot(tmp_path / "study")
    assert len(before) == 6
    with pytest.raises(M3HError):
        ingest_table(_lay(tmp_path / "in", CASES[name]), ["x"], out, stream=io.StringIO())
    assert _snapshot(tmp_path / "study") == before


@pytest.mark.parametrize("broken", ["features", "samples"])
def test_a_full_disk(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "study" / "cohort"
    source = _lay(tmp_path / "in", Case(InputError, [], {}, {}))
    write = pq.ParquetWriter.write_table
    patch: Callable[..., None] = monkeypatch.setattr
    patch(
        pq.ParquetWriter,
        "write_table",
        lambda writer, table, *more: (
            full() if ("x" in table.column_names) == (broken == "features") else write(writer, table, *more)
        ),
    )
    with pytest.raises(InputError, match="No space left") as caught:
        ingest_table(source, ["x"], out, stream=io.StringIO())
    assert "free space" in str(caught.value)
    assert not list((tmp_path / "study").rglob("*"))
