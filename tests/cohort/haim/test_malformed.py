"""HAIM-MIMIC-MM with lines that are set aside, and files that cannot be used."""

from __future__ import annotations

import errno
import gzip
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from m3h_pipeline.errors import InputError, M3HError
from m3h_pipeline.tables import records
from tests.cohort.haim.files import HEADER, PREFIXES, failing, files, line, row, rows, run, source

# ---- malformed lines


def test_malformed_lines_are_set_aside_by_their_line(tmp_path: Path, out: Path) -> None:
    """Before the bad lines lie quoted line ends and blank lines; the file is not in the order of samples."""
    lines = [line(r) for r in reversed(rows())]
    lines[0] = lines[0].replace("HOME", '"HOME\n\nAGAIN"')
    lines[2] = lines[2].replace(",AP,", ',"A\nP",')
    lines[4] = ""
    bad = {
        6: (lines[6] + ",1,2", f"{len(HEADER) + 2} fields instead of {len(HEADER)}"),
        8: (lines[8].rsplit(",", 3)[0], f"{len(HEADER) - 3} fields instead of {len(HEADER)}"),
        10: (line(row(3, 1, vd_2="secret")), "text in the numeric column `vd_2`"),
        12: (line(row(2, 2, img_length_of_stay="secret")), "text in the numeric column `img_length_of_stay`"),
    }
    for i, (text, _) in bad.items():
        lines[i] = text
    settings = source(tmp_path, lines)
    summary = run(settings, out)
    text = Path(settings.table).read_text()
    expected = [f"{text[: text.index(bad_line)].count(chr(10)) + 1}\t{why}" for bad_line, why in bad.values()]
    found = (out / "quarantine.tsv").read_text()
    assert [row.split("\t", 1)[1] for row in found.splitlines()[1:]] == expected
    assert "secret" not in found
    assert summary["rows"] == 18 - 1 - len(bad)
    assert summary["ignored"]["malformed"] == 4
    assert summary["ignored"]["blank_lines"] == 1


@pytest.mark.parametrize(("count", "limit"), [(3, 3), (4, 3), (1, 0)])
def test_too_many_malformed_lines(tmp_path: Path, out: Path, count: int, limit: int) -> None:
    lines = [line(r) for r in rows()]
    for i in range(count):
        lines[2 + i] += ",7"
    settings = source(tmp_path, lines, max_malformed=limit)
    if count <= limit:
        assert run(settings, out)["ignored"]["malformed"] == count
        return
    error = failing(settings, out)
    assert f"more than {limit} lines are malformed" in str(error)
    assert "repair the file" in str(error)
    assert f"line 4: {len(HEADER) + 1} fields instead of {len(HEADER)}" in str(error)
    assert "max_malformed" in (error.hint or "")


def test_text_in_a_column_that_is_not_read_is_harmless(tmp_path: Path, out: Path) -> None:
    lines = [line(row(1, 0, n_new_0="text")), line(row(1, 1, ts_le_0="text"))]
    assert run(source(tmp_path, lines), out, ["vision_dense"])["ignored"]["malformed"] == 0


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path, out: Path) -> None:
    run(source(tmp_path), out)
    settings = source(tmp_path)
    table = Path(settings.table)
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    run(settings, out.parent / "windows")
    assert files(out.parent / "windows") == files(out)


@pytest.mark.parametrize("kernel_from", [0, 1 << 40])
@pytest.mark.parametrize(("column", "kept"), [("n_new_0", 18), ("split", 17), ("img_id", 17), ("vd_1", 17)])
def test_bytes_that_are_not_utf8_matter_where_they_are_read(
    tmp_path: Path, out: Path, column: str, kept: int, kernel_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in other tables: what nobody reads decides nothing, and so no row is lost for an accent in it."""
    monkeypatch.setattr(records, "KERNEL_FROM", kernel_from)
    lines = [line(r) for r in rows()]
    lines[4] = line(rows()[4] | {column: "Andr\u00e9"})
    settings = source(tmp_path, lines)
    table = Path(settings.table)
    table.write_bytes(table.read_text(encoding="utf-8").encode("latin-1"))
    assert run(settings, out)["rows"] == kept
    reason = "text in the numeric column" if column == "vd_1" else "bytes that are not UTF-8 in the column"
    expected = [f"table.csv\t6\t{reason} `{column}`"] if kept < 18 else []
    assert (out / "quarantine.tsv").read_text().splitlines()[1:] == expected


def test_damaged_files_are_ingested_alike_whatever_their_size(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of the cohort, the quarantine included, or the message."""
    generator = random.Random(1)
    settings = source(tmp_path, hosp=None, max_malformed=1)
    table = Path(settings.table)
    whole = table.read_bytes()
    errors = set_aside = 0

    def outcome(kernel_from: int) -> dict[str, bytes] | str:
        monkeypatch.setattr(records, "KERNEL_FROM", kernel_from)
        shutil.rmtree(out, ignore_errors=True)
        try:
            run(settings, out)
        except M3HError as error:
            return str(error)
        return files(out)

    for _ in range(30):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(HEADER) * 6, len(data))
            data[place : place + generator.randint(0, 2)] = generator.choice(
                [b"\xe9", b'"', b"\n", b"\r", b",", b"\0", b" ", b"-nan", b"1e999", b"9" * 400, b"\xc3\xa9"]
            )
        table.write_bytes(data)
        expected = outcome(1 << 40)
        assert outcome(0) == expected
        errors += isinstance(expected, str)
        set_aside += isinstance(expected, dict) and expected["quarantine.tsv"].count(b"\n") > 1
    assert errors > 2
    assert set_aside > 5


# ---- files that cannot be used


def _truncate(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes())[:-20])


def _replace(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("which", "spoil", "message"),
    [
        ("table", lambda p: p.unlink(), "the file does not exist"),
        ("table", lambda p: p.write_bytes(b""), "the file is empty"),
        ("table", _truncate, "truncated or damaged"),
        ("table", lambda p: p.write_text(",".join(HEADER) + "\n"), "no row after the header"),
        ("table", lambda p: p.write_text(",".join(HEADER)), "no row after the header"),
        ("table", _replace(",", ";"), "separated by semicolons"),
        ("table", _replace(",", "\t"), "separated by tabs"),
        ("table", _replace("vd_", "xd_"), "no column is named `vd_` and a number, as source `vision_dense`"),
        ("table", _replace("haim_id", "haimid"), "did you mean `haimid`?"),
        ("table", _replace("de_1,", "dx_1,"), "column `de_1` of subgroup `sex` is absent"),
        ("table", _replace("vd_1,", "vd_0,"), "column `vd_0` stands twice"),
        ("table", lambda p: p.write_bytes(b"\xff\xfe" + p.read_text().encode("utf-16-le")), "text in UTF-16"),
        ("key_ids", lambda p: p.unlink(), "the file does not exist"),
        ("key_ids", _replace(",", ";"), "separated by semicolons"),
        ("key_ids", _replace("subject_id", "subject"), "column(s) missing: subject_id"),
        ("hosp", lambda p: (p / "diagnoses_icd.csv").unlink(), "is absent"),
        ("hosp", lambda p: (p / "d_icd_diagnoses.csv").write_bytes(b""), "the file is empty"),
    ],
)
def test_unusable_files(
    tmp_path: Path, out: Path, which: str, spoil: Callable[[Path], object], message: str
) -> None:
    settings = source(tmp_path)
    spoil(Path(getattr(settings, which)))
    assert message in str(failing(settings, out))


def test_an_absent_block_names_the_nearest(tmp_path: Path, out: Path) -> None:
    error = failing(source(tmp_path, blocks=PREFIXES | {"ts_lab": "ts_lee_"}), out)
    assert error.hint == "did you mean `ts_le_`?"


def test_an_unknown_source_and_a_shared_prefix(tmp_path: Path, out: Path) -> None:
    assert "there is no source `ts_labs`" in str(failing(source(tmp_path), out, ["ts_labs"]))
    shared = source(tmp_path, blocks={"one": "vd_", "two": "vd_"})
    assert "the prefix `vd_` belongs to two sources" in str(failing(shared, out, ["one", "two"]))


def test_hosp_of_another_release(tmp_path: Path, out: Path) -> None:
    settings = source(tmp_path)
    path = Path(settings.key_ids)
    path.write_text(path.read_text().replace(",20", ",90"))
    assert "no admission of the cohort has a diagnosis" in str(failing(settings, out))


def test_a_full_disk_leaves_the_earlier_cohort(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = source(tmp_path)
    run(settings, out)
    before = files(out)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for target in ("write_table", "close"):
        with monkeypatch.context() as patch:
            patch.setattr(f"m3h_pipeline.cohort.writer.pq.ParquetWriter.{target}", full)
            assert "No space left" in str(failing(settings, out))
        assert files(out) == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        run(source(tmp_path / "in"), tmp_path / "file" / "cohort")
