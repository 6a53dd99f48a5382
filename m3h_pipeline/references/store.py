"""Finished fits of references by content, one file each, so that a job that was killed goes on from them.

They lie in a folder of the store of fits. What a fit is found by holds everything that determines what it
predicts: features, labels of its task, rows, settings, seed and code.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from m3h_pipeline.digest import code_digest
from m3h_pipeline.environment import versions
from m3h_pipeline.errors import M3HError
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.references.kept.models import Kept, restored
from m3h_pipeline.references.problem import Floats
from m3h_pipeline.references.registry import Part
from m3h_pipeline.training.fitted import read_arrays, write_arrays

#: A fit: predictions of its scored rows, one list for each setting.
SCHEMA: Final = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("width", pa.int16(), nullable=False),
        pa.field("predictions", pa.list_(pa.list_(pa.float32())), nullable=False),
    ]
)
#: Ending of a fit's model.
MODEL: Final = ".safetensors"
#: Packages that decide what a fit predicts.
_DECISIVE: Final = ("numpy", "pytabkit", "scikit-learn", "scikit-survival", "scipy", "torch")


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")


class ReferenceStore:
    """A folder of finished fits of references.

    Args:
        folder: made when the first fit is saved; None: nothing is kept.
        warn: told about files that cannot be read; standard error by default.
    """

    def __init__(self, folder: Path | None, warn: Callable[[str], None] = _warn) -> None:
        self._folder, self._warn = folder, warn

    def path_of(self, key: str) -> Path | None:
        """Where a fit is or will be; None: nothing is kept."""
        return None if self._folder is None else self._folder / "references" / f"{key[:32]}.parquet"

    def load(self, key: str) -> list[Floats] | None:
        """Predictions of a finished fit, (rows, width) for each of its settings; None: there is none."""
        path = self.path_of(key)
        if path is None or not path.exists():
            return None
        try:
            row = read_table(path, SCHEMA).to_pylist()[0]
        except (M3HError, IndexError) as error:
            self._warn(f"a stored fit of a reference cannot be read and is fitted again ({error})")
            return None
        return [np.asarray(flat, np.float32).reshape(-1, row["width"]) for flat in row["predictions"]]

    def save(self, key: str, task: str, model: str, predictions: Sequence[Floats]) -> None:
        """Keep a finished fit.

        Raises:
            InputError: the folder cannot be written.
        """
        path = self.path_of(key)
        if path is None:
            return
        row = {
            "fit_key": key,
            "task": task,
            "model": model,
            "width": predictions[0].shape[1],
            "predictions": [np.asarray(one, dtype=np.float32).ravel() for one in predictions],
        }
        write_table(pa.Table.from_pylist([row], schema=SCHEMA), path, SCHEMA)

    def load_model(self, key: str) -> Kept | None:
        """The model of a finished fit; None: it is not kept."""
        path = self.path_of(key)
        if path is None or not path.with_suffix(MODEL).exists():
            return None
        try:
            return read_kept(path.with_suffix(MODEL))
        except M3HError as error:
            self._warn(f"a stored model of a reference cannot be read and is fitted again ({error})")
            return None

    def save_model(self, key: str, model: Kept) -> None:
        """Keep the model of a finished fit.

        Raises:
            InputError: the folder cannot be written.
        """
        if (path := self.path_of(key)) is not None:
            write_kept(model, path.with_suffix(MODEL))


def write_kept(model: Kept, path: Path) -> None:
    """Write a reference model, whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    write_arrays(model.arrays, model.metadata(), path)


def read_kept(path: Path) -> Kept:
    """Read a reference model.

    Raises:
        InputError: the file is absent, damaged, or holds no reference model.
    """
    arrays, metadata = read_arrays(path)
    return restored(metadata, arrays)


def fit_key(model: str, part: Part, settings: Sequence[str]) -> str:
    """SHA-256 of all that determines a fit.

    Args:
        model: name of the reference.
        part: what it learns from and predicts.
        settings: what its settings are called.
    """
    study = part.study
    what = {
        "model": model,
        "settings": list(settings),
        "features": study.columns.digest,
        "labels": study.data.label_digest(study.task),
        # Times of survival curves are those of the whole training part.
        "grid": study.grid.tolist() if study.problem_class == "survival" else None,
        "basis": study.data.split_digest,
        "rows": [
            hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()
            for rows in (part.training, part.scored)
        ],
        # Deep references are stopped on whole patients.
        "patients": study.data.patient_digest,
        "seed": study.seed,
        "code": _code(),
        "versions": {name: text for name, text in versions().items() if name in _DECISIVE},
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    return code_digest("m3h_pipeline.references.registry")
