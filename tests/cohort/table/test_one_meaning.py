"""The same table gives the same cohort and the same labels, byte for byte, in every format and dialect."""

from __future__ import annotations

import decimal
import io
import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from m3h_pipeline.cohort.reading import read_reading
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config.missing import is_missing
from m3h_pipeline.config.sources import TableSource
from m3h_pipeline.errors import M3HError
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.labels import label_task
from tests.cohort.table.dialects import DECLARED, WRITERS, Kind, Written, write

#: More of them once in a while: M3H_EXAMPLES=1000.
EXAMPLES = int(os.environ.get("M3H_EXAMPLES", "10"))
#: What became of the tables that were tried.
SEEN: Counter[str] = Counter()

NUMBERLIKE = [
    "1", "1.0", "1.50", "1.5", "+2", "007", "1e3", "12_5", "0x1F", "\uff11", "inf", "1,5", "<5", "-", "True",
    "false", "-9", "2020-01-31", "none", "NA", "250.1", "250.10",
]  # fmt: skip
_TEXT = st.one_of(
    st.sampled_from(
        [
            "I",
            "II",
            "caf\u00e9",
            "cafe\u0301",
            " a ",
            'b"c',
            "it's",
            "a,b",
            "tab\tbed",
            "back\\slash",
            "?",
            "%",
            "{x}",
        ]
    ),
    st.sampled_from(NUMBERLIKE),
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), min_size=1, max_size=4),
)
_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "whole": st.one_of(st.integers(-3, 12), st.integers(-(2**62), 2**62)),
    "real": st.one_of(
        st.floats(-1e6, 1e6),
        st.floats(-3e38, 3e38),
        st.sampled_from([0.5, 1.5, 0.1, 3.0, -0.0, 1e16, 1e-7]),
    ),
    "narrow": st.one_of(
        st.floats(-(2.0**20), 2.0**20, width=32), st.sampled_from([float(np.float32(0.1)), 2.0])
    ),
    "decimal": st.decimals(-999, 999, places=4).map(lambda d: decimal.Decimal(d)),
    "truth": st.booleans(),
    "text": _TEXT,
}


@st.composite
def tables(draw: st.DrawFn) -> list[Written]:
    """A table whose first column is the samples' id."""
    n = draw(st.integers(2, 7))
    form = draw(st.sampled_from(["p{}", "{:03d}", "{}", "10{:04d}", "P-{}.5"]))
    columns = [Written("sample", "text", [form.format(i) for i in range(1, n + 1)])]

    def column(name: str, *kinds: Kind) -> None:
        kind = draw(st.sampled_from(kinds))
        values = _VALUES[kind]
        if draw(st.booleans()):
            # Few distinct values, as classes have.
            values = st.sampled_from(draw(st.lists(values, min_size=1, max_size=3)))
        columns.append(Written(name, kind, draw(st.lists(st.none() | values, min_size=n, max_size=n))))

    column("patient", "whole", "text")
    patients = [v if v is not None and str(v).strip() else i for i, v in enumerate(columns[1].values)]
    columns[1] = Written("patient", "text", [f"{p}".strip() or "q" for p in patients])
    column("x1", "whole", "real", "narrow")
    column("x2", "real", "narrow", "whole")
    column("flag", "truth", "decimal")
    column("category", "text", "whole", "real", "truth", "decimal", "narrow")
    column("group", "text", "truth", "whole", "decimal")
    column("y_number", "whole", "real", "narrow", "decimal", "truth", "text")
    column("y_class", "text", "truth", "whole", "real")
    if draw(st.integers(0, 9)) == 0:
        # Text where a number is expected: refused, in the same words.
        columns[4] = Written(
            "flag", "text", draw(st.lists(st.sampled_from(NUMBERLIKE), min_size=n, max_size=n))
        )
    return columns


def _tasks(columns: list[Written]) -> dict[str, dict[str, Any]]:
    """Definitions of a regression and of classes that name every value."""
    texts = [str(v) for v in dict.fromkeys(columns[-1].values) if v is not None]
    classes = [text for text in texts if not is_missing(text)] or ["a"]
    named = {"first": classes[:1], "rest": classes[1:] or ["b"]}
    common = {"department": "D"}
    return {
        "number": {
            **common,
            "title": "N",
            "class": "regression",
            "criterion": {"kind": "number", "column": "y_number"},
        },
        "class": {
            **common,
            "title": "C",
            "class": "multiclass",
            "criterion": {"kind": "classes", "column": "y_class", "classes": named},
        },
    }


def outcome(name: str, columns: list[Written], rng: random.Random) -> dict[str, Any]:
    """Every file that ingestion and labelling write, or what they say instead."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(name, Path(folder), columns, rng)
        source = TableSource.model_validate(
            {
                "files": [{"path": str(path), "id": "sample"}],
                "patient_id": "patient",
                "blocks": {"x": {"columns": ["x1", "x2", "flag", "category"], "categorical": ["category"]}},
                "columns": ["y_number", "y_class"],
                "subgroups": {"group": {"column": "group"}},
                "missing_values": DECLARED,
            }
        )
        out = Path(folder) / "cohort"
        found: dict[str, Any] = {}
        try:
            ingest_table(source, ["x"], out, stream=io.StringIO())
        except M3HError as error:
            # Which row is named depends on the order of the rows.
            return {"refused": (type(error), error.what.partition(" holds ")[0])}
        for task, definition in _tasks(columns).items():
            try:
                label_task(
                    task,
                    TaskDefinition.model_validate(definition),
                    out,
                    out / f"{task}.parquet",
                    out / f"{task}.tsv",
                )
            except ValidationError:
                found[task] = "no definition"
            except M3HError as error:
                found[task] = (type(error), error.what.partition(" holds ")[0])
        for file in sorted(out.rglob("*")):
            if file.is_file() and file.name not in {"summary.json", "quarantine.tsv", "reading.json"}:
                found[str(file.relative_to(out))] = file.read_bytes()
        # It names the file.
        found["reading"] = read_reading(CohortFiles(out).reading).sources
        return found


# The tables are small as they are drawn; to make them smaller would take minutes.
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(tables(), st.integers(0, 2**32))
def test_one_table_is_one_cohort_in_every_format(columns: list[Written], seed: int) -> None:
    expected = outcome("text.csv", columns, random.Random(seed))
    SEEN[
        "refused"
        if "refused" in expected
        else "label refused"
        if {"number", "class"} & set(expected)
        else "read"
    ] += 1
    for i, name in enumerate(WRITERS):
        assert outcome(name, columns, random.Random(seed + i)) == expected, name


def test_most_of_those_tables_are_read() -> None:
    if sum(SEEN.values()) < 10:
        pytest.skip("the tables above were not drawn in this process")
    print(dict(SEEN))
    assert SEEN["refused"] < 0.5 * sum(SEEN.values())
