"""The record of a study: what it was made from, with what, and the digest of every file that came out.

``provenance.json`` holds the configuration, the digests of the inputs, versions of packages and drivers, the
devices fits were trained on, the seeds, digests of the code of every stage, and size and SHA-256 of every
result. It holds no names of machines, users or folders, so that it can be published with a figure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Study
from m3h_pipeline.config.networks import networks
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.environment import versions
from m3h_pipeline.errors import InputError, M3HError
from m3h_pipeline.evaluation.ledger import openings
from m3h_pipeline.files import read_json, read_table, write_json
from m3h_pipeline.hashes import sha256
from m3h_pipeline.jobs.code import code_of_stages
from m3h_pipeline.jobs.outputs import results, score_files
from m3h_pipeline.layout import Layout
from m3h_pipeline.search.sizes import decided
from m3h_pipeline.training.store import environment_of, keys_of

FORMAT = 1


def segments(layout: Layout, study: Study) -> dict[Path, set[str]]:
    """Segments of the store that hold fits of this study -> the keys of those fits.

    Raises:
        InputError: a segment is damaged, and fits of this study are in no other one.
    """
    used: set[str] = set()
    for path in score_files(layout, study):
        used.update(read_table(path, SCORES, ["fit_key"]).column(0).to_pylist())
    found: dict[Path, set[str]] = {}
    refused: list[M3HError] = []
    for path in sorted(layout.store.glob("*.parquet")):
        try:
            keys = set(keys_of(path))
        except M3HError as error:
            # Nothing was taken from a segment that is damaged, or of an older version.
            refused.append(error)
            continue
        if mine := keys & used:
            found[path] = mine
    if refused and used.difference(*found.values()):
        raise refused[0]
    return found


def portable(value: Any) -> Any:
    """A configuration value without the places of this machine: of an absolute path, its last part is kept.

    Examples:
        >>> portable({"data": "/home/somebody/cohort", "table": "table.csv"})
        {'data': '(elsewhere)/cohort', 'table': 'table.csv'}
    """
    if isinstance(value, Mapping):
        return {key: portable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [portable(one) for one in value]
    if isinstance(value, str) and (
        value.startswith("~") or Path(value).is_absolute() or ".." in Path(value).parts
    ):
        return f"(elsewhere)/{Path(value).name}"
    return value


def record(
    layout: Layout,
    study: Study,
    inputs: Mapping[str, Any],
    definitions: Mapping[str, str],
    out: Path,
) -> dict[str, Any]:
    """Write the record of a finished study.

    Args:
        layout: of the study.
        study: its configuration.
        inputs: name -> ``{"bytes", "sha256"}`` of the files it was made from (``hashes.hashed``).
        definitions: task -> digest of its definition.
        out: the file to write.

    Raises:
        InputError: a result is missing.
    """
    files = [*results(layout, study), *segments(layout, study)]
    content = {
        "format": FORMAT,
        **made_from(layout, study, inputs, definitions),
        "files": {
            path.relative_to(layout.folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
            for path, digest in ((path, sha256(path)) for path in files)
        },
    }
    # The configuration in its own order, as people know it.
    write_json(content, out, sort_keys=False)
    return content


def made_from(
    layout: Layout, study: Study, inputs: Mapping[str, Any], definitions: Mapping[str, str]
) -> dict[str, Any]:
    """What a study was made from and with: all of its record but the results.

    Args:
        layout, study, inputs, definitions: as of :func:`record`.

    Raises:
        InputError: a score that a plan names is missing, or a segment of the store is damaged.
    """
    return {
        "study": study.study,
        "configuration": portable(study.model_dump(mode="json")),
        "sizes": {
            name: found
            for name, one in (networks(study) or {study.study: study}).items()
            if (found := decided(one, layout.cohort.summary))
        },
        "definitions": dict(definitions),
        "inputs": dict(inputs),
        "seeds": {
            "study": study.seed,
            "split": study.split.seed,
            "replicates": {
                "search": study.search.replicates,
                "tim": study.tim.replicates,
                "final": study.evaluation.replicates,
                **({"networks": study.networks.replicates} if study.networks else {}),
            },
        },
        "code": code_of_stages(),
        "versions": versions(),
        "training": trained_with(layout, study),
        # With how many sets of models each verb has opened the test part; the ledger says when.
        "test_part": openings(layout.ledger),
    }


def trained_with(layout: Layout, study: Study) -> list[dict[str, Any]]:
    """The environments the study's fits were trained in, and how many fits in each."""
    counts: Counter[str] = Counter()
    for path, keys in segments(layout, study).items():
        counts[json.dumps(environment_of(path), sort_keys=True)] += len(keys)
    return [{**json.loads(text), "fits": number} for text, number in sorted(counts.items())]


def read_record(layout: Layout) -> dict[str, Any]:
    """The record of a study.

    Raises:
        InputError: there is none, or it is of another format.
    """
    path = layout.record
    if not path.is_file():
        raise InputError(
            "the study has no record",
            where=str(path),
            hint="run the study to its end; name the folder of its results",
        )
    content: dict[str, Any] = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(
            f"this is no record of format {FORMAT}", where=str(path), hint="delete it and run `snakemake`"
        )
    return content
