"""HAIM-MIMIC-MM with every trap of the published file, one at a time, and all at once."""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.cohort.haim.ingest import ingest_haim
from m3h_pipeline.cohort.ingest import render_summary
from m3h_pipeline.cohort.summary import shown_summary
from m3h_pipeline.config import SyntheticSource
from m3h_pipeline.contracts import DIAGNOSES
from m3h_pipeline.files import read_features, read_json, read_samples, read_table
from m3h_pipeline.tables import kernel, records
from tests.cohort.haim.files import (
    FEATURES,
    HEADER,
    PREFIXES,
    SOURCES,
    failing,
    files,
    line,
    row,
    rows,
    run,
    source,
    write_csv,
)

# ---- what comes out


def test_the_cohort_holds_what_the_file_holds(tmp_path: Path, out: Path) -> None:
    run(source(tmp_path), out)
    samples = read_samples(out / "samples.parquet").to_pylist()
    assert samples[0] == {
        "sample_id": "00000001-0000",
        "patient_id": "100",
        "stay_id": "301",
        "sex": "male",
    }
    assert [s["sample_id"] for s in samples] == [f"{h:08d}-{i:04d}" for h in range(1, 7) for i in range(3)]
    for name, prefix in PREFIXES.items():
        x, names = read_features(out / "features" / f"{name}.parquet")
        assert names == [f for f in FEATURES if f.startswith(prefix)]
        expected = np.array([[float(r[f]) for f in names] for r in rows()], dtype=np.float32)
        assert np.array_equal(x, expected)
    columns = read_table(out / "columns.parquet")
    assert columns.column_names == [
        "img_deltacharttime",
        "discharge_location",
        "img_length_of_stay",
        "death_status",
        "split",
        "Atelectasis",
        "Pneumonia",
        "Lung Opacity",
        "PerformedProcedureStepDescription",
        "ViewPosition",
    ]
    assert columns.slice(1, 1).to_pylist() == [
        {
            "img_deltacharttime": 12.5,
            "discharge_location": "HOME",
            "img_length_of_stay": 48.0,
            "death_status": 0.0,
            "split": "train",
            "Atelectasis": 1.0,
            "Pneumonia": -1.0,
            "Lung Opacity": None,
            "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)",
            "ViewPosition": "AP",
        }
    ]
    diagnoses = read_table(out / "diagnoses.parquet", DIAGNOSES)
    assert set(diagnoses["stay_id"].to_pylist()) == {str(300 + h) for h in range(1, 7)}


def test_the_summary_counts(tmp_path: Path, out: Path) -> None:
    changed = rows()
    changed[0]["vd_0"] = ""
    changed[1] |= dict.fromkeys(["ts_le_0", "ts_le_1", "ts_le_2"], "")
    changed[2]["vd_1"] = "inf"
    changed[3]["vd_1"] = "1e39"
    summary = run(source(tmp_path, [line(r) for r in changed] + [line(changed[4])]), out)
    assert read_json(out / "summary.json") == json.loads(json.dumps(shown_summary(summary)))
    assert (summary["rows"], summary["patients"], summary["stays"]) == (18, 3, 6)
    assert summary["sources"]["vision_dense"] == {
        "features": 4,
        "missing": pytest.approx(3 / 72),
        "samples_without": 0,
        "infinite": 2,
        "zero_throughout": 0,
        "zero_is_missing": False,
        "far_values": [],
    }
    assert summary["sources"]["ts_lab"]["samples_without"] == 1
    assert summary["subgroups"] == {"sex": {"female": 9, "male": 9}}
    assert summary["ignored"]["blocks"] == {"n_new_": 6}
    assert summary["ignored"]["duplicates"] == 1
    assert summary["diagnoses"] == {"rows": 12, "codes": 2, "codes_without_title": 1, "stays_without": 0}
    x, _ = read_features(out / "features" / "vision_dense.parquet")
    assert np.isnan([x[0, 0], x[2, 1], x[3, 1]]).all()
    shown = render_summary(summary)
    assert "18 samples of <11 patients, <11 stays" in shown
    assert "n_new_* (6)" in shown
    assert "sex: female <11, male <11" in shown
    assert not any(str(identifier) in shown for identifier in (100, 201, 301))


def test_only_the_named_sources_are_written_in_any_order(tmp_path: Path, out: Path) -> None:
    summary = run(source(tmp_path), out, ["ts_lab", "vision_dense"])
    assert sorted(p.name for p in (out / "features").iterdir()) == ["ts_lab.parquet", "vision_dense.parquet"]
    assert summary["ignored"]["unused_sources"] == ["demographics"]
    # The sex code is a column of the block that is not read.
    assert summary["subgroups"] == {"sex": {"female": 9, "male": 9}}
    assert list(summary["sources"]) == ["ts_lab", "vision_dense"]


def test_columns_are_found_by_name_and_number(tmp_path: Path, out: Path) -> None:
    run(source(tmp_path), out)
    header = list(HEADER)
    random.Random(3).shuffle(header)
    settings = source(tmp_path)
    write_csv(Path(settings.table), [line(r, header) for r in rows()], header)
    other = out.parent / "other"
    run(settings, other)
    for name in ("samples.parquet", *(f"features/{s}.parquet" for s in SOURCES)):
        assert pq.read_table(other / name).equals(pq.read_table(out / name))
    assert read_features(other / "features" / "vision_dense.parquet")[1] == ["vd_0", "vd_1", "vd_2", "vd_3"]


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path, out: Path) -> None:
    lines = [line(r) for r in rows(stays=6, images=12)]
    run(source(tmp_path, lines), out)
    for seed in range(3):
        shuffled = random.Random(seed).sample([*lines, lines[5], lines[30]], len(lines) + 2)
        again = out.parent / f"again{seed}"
        run(source(tmp_path, shuffled), again)
        same = files(out)
        assert {n: b for n, b in files(again).items() if n != "summary.json"} == {
            n: b for n, b in same.items() if n != "summary.json"
        }


def test_chunks_and_threads_and_the_kernel_change_nothing(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line(r) for r in rows(stays=6, images=20)]
    lines[7], lines[9] = lines[9] + ",1", lines[9].replace("HOME", '"HOME, SWEET\nHOME"')
    settings = source(tmp_path, random.Random(0).sample(lines, len(lines)))
    run(settings, out)
    for chunk, threads, kernel_from in ((1, 1, 1 << 40), (700, 3, 0), (8 << 20, 2, 0)):
        monkeypatch.setattr(records, "CHUNK", chunk)
        monkeypatch.setattr(records, "KERNEL_FROM", kernel_from)
        other = out.parent / f"other{chunk}"
        ingest_haim(settings, SOURCES, other, threads=threads)
        assert files(other) == files(out)


def test_a_large_table_is_read_where_nothing_is_compiled(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = source(tmp_path)
    run(settings, out)
    monkeypatch.setattr(records, "KERNEL_FROM", 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(kernel, "_compiled", lambda: pytest.fail("numba is asked for"))
    run(settings, out.parent / "plain")
    assert files(out.parent / "plain") == files(out)


def test_features_are_written_in_parts(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = source(tmp_path)
    run(settings, out)
    monkeypatch.setattr("m3h_pipeline.cohort.writer.BUFFERED", 100)
    monkeypatch.setattr(records, "CHUNK", 500)
    run(settings, out.parent / "parts")
    path = "features/vision_dense.parquet"
    assert pq.ParquetFile(out.parent / "parts" / path).num_row_groups > 1
    assert np.array_equal(read_features(out / path)[0], read_features(out.parent / "parts" / path)[0])


def test_gzip_is_recognised_by_its_bytes(tmp_path: Path, out: Path) -> None:
    settings = source(tmp_path)
    run(settings, out)
    table = Path(settings.table)
    table.write_bytes(gzip.compress(table.read_bytes()))
    run(settings, out.parent / "packed")
    assert files(out.parent / "packed") == files(out)


def test_an_ingestion_replaces_all_of_an_earlier_one(tmp_path: Path, out: Path) -> None:
    run(source(tmp_path), out)
    (out / "notes.txt").write_text("the user's own")
    run(source(tmp_path, hosp=None), out, ["ts_lab"])
    assert sorted(files(out)) == [
        "columns.parquet",
        "features/ts_lab.parquet",
        "notes.txt",
        "quarantine.tsv",
        "reading.json",
        "samples.parquet",
        "summary.json",
    ]


# ---- identities


def test_repeated_images_are_dropped_and_counted(tmp_path: Path, out: Path) -> None:
    lines = [line(r) for r in rows()]
    other = row(2, 1, seed=9)
    broken = line(row(3, 0)) + ",surplus"
    summary = run(source(tmp_path, [broken, *lines, lines[4], line(other)]), out)
    assert summary["rows"] == 18
    assert summary["ignored"]["duplicates"] == 2
    assert summary["ignored"]["duplicates_that_differ"] == 1
    x, names = read_features(out / "features" / "vision_dense.parquet")
    assert x[4].tolist() == [np.float32(rows()[4][n]) for n in names]  # the first one is kept
    assert x[6].tolist() == [np.float32(row(3, 0)[n]) for n in names]  # a broken one does not count as first


def test_one_image_in_two_stays_is_two_samples(tmp_path: Path, out: Path) -> None:
    # Stays 1 and 2 are of one patient, stay 3 is of another.
    lines = [line(row(h, 0)) for h in (1, 2, 3)] + [line(row(1, 1))]
    summary = run(source(tmp_path, lines), out)
    assert summary["rows"] == 4
    assert summary["images_in_several_stays"] == 2


def test_identifiers_may_be_floats_or_texts(tmp_path: Path, out: Path) -> None:
    lines = [line(row(1, 0) | {"haim_id": "1.0", "img_id": "3.0"}), line(row(2, 0) | {"img_id": "ab-c"})]
    run(source(tmp_path, lines), out)
    assert read_samples(out / "samples.parquet")["sample_id"].to_pylist() == [
        "00000001-0003",
        "00000002-ab-c",
    ]


@pytest.mark.parametrize(("male", "female"), [("1", "0"), ("1.0", "0.0"), (" 1 ", "0")])
def test_the_sex_code_is_a_float_or_an_int(tmp_path: Path, out: Path, male: str, female: str) -> None:
    lines = [line(row(1, 0, de_1=male)), line(row(2, 0, de_1=female)), line(row(3, 0, de_1=""))]
    run(source(tmp_path, lines), out)
    assert read_samples(out / "samples.parquet")["sex"].to_pylist() == ["male", "female", None]


def test_a_subgroup_without_any_named_code_is_an_error(tmp_path: Path, out: Path) -> None:
    error = failing(source(tmp_path, [line(row(1, 0, de_1="7"))]), out)
    assert "no value of column `de_1` is among 0, 1" in str(error)
    assert "subgroup `sex`" in str(error)


@pytest.mark.usefixtures("no_value_is_rare")
def test_subgroups_come_from_text_and_number_columns(tmp_path: Path, out: Path) -> None:
    groups = {"view": {"column": "ViewPosition"}, "dead": {"column": "death_status", "values": {"0": "no"}}}
    summary = run(source(tmp_path, subgroups=groups), out)
    assert summary["subgroups"] == {"view": {"AP": 18}, "dead": {"no": 18}}


# ---- keys


def test_a_repeated_key_is_one_key(tmp_path: Path, out: Path) -> None:
    settings = source(tmp_path)
    path = Path(settings.key_ids)
    path.write_text(path.read_text() + "100,201,301,1\n100.0,201.0,301.0,1.0\n")
    assert run(settings, out)["rows"] == 18


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("101,201,301,1\n", "1 and 9 `haim_id` have several rows that contradict"),
        ("100,201,999,1\n", "contradict each other"),
        ("5,6\n", "2 fields instead of 4"),
    ],
)
def test_wrong_keys(tmp_path: Path, out: Path, extra: str, message: str) -> None:
    settings = source(tmp_path)
    path = Path(settings.key_ids)
    path.write_text(path.read_text() + extra)
    assert message.replace("1 and 9", "<11") in str(failing(settings, out))


def test_keys_of_nobody(tmp_path: Path, out: Path) -> None:
    settings = source(tmp_path)
    path = Path(settings.key_ids)
    head, *keys = path.read_text().splitlines()
    path.write_text("\n".join([head, ",201,301,1", head, *(f",{key.split(',', 1)[1]}" for key in keys)]))
    assert "no row has a `haim_id` and a `subject_id`" in str(failing(settings, out))


@pytest.mark.parametrize("change", ["absent", "no patient", "no patient, blank", "another number"])
def test_samples_without_a_key_are_set_aside_by_their_line(tmp_path: Path, out: Path, change: str) -> None:
    settings = source(tmp_path, max_malformed=3)
    path = Path(settings.key_ids)
    text, key = path.read_text(), "101,203,303,3\n"
    assert key in text
    new = {"absent": "", "no patient": ",203,303,3\n", "no patient, blank": " ,203,303,3\n"}
    path.write_text(text.replace(key, new.get(change, "101,203,303,33\n")))
    summary = run(settings, out)
    assert (summary["rows"], summary["ignored"]["without_key"], summary["ignored"]["malformed"]) == (15, 3, 0)
    assert (out / "quarantine.tsv").read_text().splitlines()[1:] == [
        f"table.csv\t{n}\tits `haim_id` has no key" for n in (8, 9, 10)
    ]
    error = str(failing(settings.model_copy(update={"max_malformed": 2}), out))
    assert "more than 2 lines are malformed or without a key (line 8: its `haim_id` has no key" in error
    assert "take both files from the same release" in error


@pytest.mark.parametrize(
    "spelling", [",".join, lambda names: ", ".join(names), lambda names: ",".join(names) + "\r"]
)
@pytest.mark.parametrize("keyed", [False, True])
def test_a_header_that_repeats_is_a_malformed_line(
    tmp_path: Path, out: Path, spelling: Callable[[Sequence[str]], str], keyed: bool
) -> None:
    """As files appended to one another have it, the key file likewise."""
    lines = [line(r) for r in rows()]
    settings = source(tmp_path, [*lines[:5], spelling(HEADER), *lines[5:]])
    if keyed:
        path = Path(settings.key_ids)
        head, *keys = path.read_text().splitlines()
        path.write_text("\n".join([head, *keys[:2], head, *keys[2:], ""]))
    summary = run(settings, out)
    assert (summary["rows"], summary["ignored"]["malformed"], summary["ignored"]["without_key"]) == (18, 1, 0)
    assert (out / "quarantine.tsv").read_text().splitlines()[1:] == ["table.csv\t7\tthe header again"]


def test_a_malformed_line_does_not_speak_against_the_keys(tmp_path: Path, out: Path) -> None:
    junk = [
        "0" + ",0.0" * (len(HEADER) + 5),
        ",0.0" * (len(HEADER) + 5),
        "99,0",
        '99,0,"a',
        line(row(1, 0, haim_id="")),
    ]
    lines = [line(r) for r in rows()]
    summary = run(source(tmp_path, [*lines, *junk[:3], junk[4]]), out)
    assert summary["rows"] == 18
    assert (out / "quarantine.tsv").read_text().splitlines()[1:] == [
        f"table.csv\t20\t{len(HEADER) + 6} fields instead of {len(HEADER)}",
        f"table.csv\t21\t{len(HEADER) + 6} fields instead of {len(HEADER)}",
        f"table.csv\t22\t2 fields instead of {len(HEADER)}",
        "table.csv\t23\tno `haim_id` or no `img_id`",
    ]


def test_a_stay_without_number_is_its_own(tmp_path: Path, out: Path) -> None:
    settings = source(tmp_path)
    path = Path(settings.key_ids)
    path.write_text(path.read_text().replace("100,201,301,1\n", "100,,,1\n"))
    summary = run(settings, out)
    assert read_samples(out / "samples.parquet")["stay_id"].to_pylist()[0] == "haim-1"
    assert summary["diagnoses"]["stays_without"] == 1


# ---- the synthetic file, which has all the traps


def test_the_synthetic_file_is_read_like_the_published_one(tmp_path: Path, out: Path) -> None:
    from m3h_pipeline.cohort.synthetic.simulate import haim_source, simulate

    settings = SyntheticSource(samples=400)
    simulate(settings, 7, tmp_path / "input")
    published = haim_source(settings, tmp_path / "input")
    summary = run(published, out, list(published.blocks))
    assert summary["rows"] == 400
    assert summary["ignored"]["malformed"] == 2
    assert summary["ignored"]["duplicates"] > 0
    assert len(summary["ignored"]["blocks"]) == 2
    assert {n: s["features"] for n, s in summary["sources"].items()} == settings.widths
    lines = (out / "quarantine.tsv").read_text().splitlines()[1:]
    count = Path(published.table).read_bytes().count(b"\n")
    assert [text.split("\t")[1] for text in lines] == [str(count - 1), str(count)]
    findings = read_table(out / "columns.parquet")["Pneumonia"].to_pylist()
    assert {None, -1.0, 0.0, 1.0} == set(findings)
