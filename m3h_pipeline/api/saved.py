"""A fitted model on disk: its description as JSON, the parameters of each replicate as safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.api.frames import Column
from m3h_pipeline.api.outcomes import Outcome
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.files import read_json, write_json
from m3h_pipeline.training.fitted import read_arrays, write_arrays
from m3h_pipeline.training.spec import FitResult

#: Version of the format; a model of a newer one is refused.
FORMAT: Final = 1
_DESCRIPTION: Final = "model.json"


@dataclass(frozen=True)
class Fit:
    """A replicate.

    Attributes:
        arrays: as in ``FitResult.parameters``.
        metadata: as in ``FitResult.metadata``.
        epochs: that it was trained for.
    """

    arrays: dict[str, npt.NDArray[Any]]
    metadata: dict[str, str]
    epochs: int

    @classmethod
    def of(cls, result: FitResult) -> Fit:
        """What is kept of a finished fit."""
        assert result.parameters is not None
        return cls(result.parameters, result.metadata, result.epochs)


@dataclass(frozen=True)
class Known:
    """What a fitted model knows.

    Attributes:
        columns: modality -> how its columns become features.
        outcomes: its tasks, sorted.
        fits: its replicates.
    """

    columns: dict[str, list[Column]]
    outcomes: dict[str, Outcome]
    fits: list[Fit]


def write(known: Known, parameters: Mapping[str, Any], folder: Path) -> None:
    """Write a model; the description comes last, so that a folder with one is whole.

    Args:
        known: what it knows.
        parameters: of its constructor.
        folder: made if there is none; files of a model in it are replaced.

    Raises:
        InputError: the folder cannot be written.
        ConfigError: a parameter cannot be written as JSON.
    """
    plain = _plain(dict(parameters))
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    for number, fit in enumerate(known.fits):
        write_arrays(fit.arrays, fit.metadata, folder / f"replicate_{number}.safetensors")
    write_json(
        {
            "format": FORMAT,
            "parameters": plain,
            "columns": {name: [asdict(one) for one in columns] for name, columns in known.columns.items()},
            "outcomes": {name: asdict(one) for name, one in known.outcomes.items()},
            "epochs": [fit.epochs for fit in known.fits],
        },
        folder / _DESCRIPTION,
        # Columns and classes have an order.
        sort_keys=False,
    )


def read(folder: Path) -> tuple[Known, dict[str, Any]]:
    """Read a model and the parameters of its constructor.

    Raises:
        InputError: a file is absent or damaged, or of a newer format.
    """
    said = read_json(folder / _DESCRIPTION)
    version = said.get("format")
    if version != FORMAT:
        raise InputError(
            f"the model has format {version}; this version of the package reads format {FORMAT}",
            where=str(folder / _DESCRIPTION),
            hint="install the version that wrote it, or a newer one",
        )
    fits = []
    for number, epochs in enumerate(said["epochs"]):
        arrays, metadata = read_arrays(folder / f"replicate_{number}.safetensors")
        fits.append(Fit(arrays, metadata, epochs))
    columns = {
        name: [Column(one["name"], one["kind"], tuple(one["values"])) for one in columns]
        for name, columns in said["columns"].items()
    }
    outcomes = {
        name: Outcome(**{**one, "columns": tuple(one["columns"]), "classes": tuple(one["classes"])})
        for name, one in said["outcomes"].items()
    }
    return Known(columns, outcomes, fits), said["parameters"]


def _plain(value: Any, place: str = "the model") -> Any:
    """A parameter as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one, f"{place}[{key!r}]") for key, one in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), place)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Sequence) or hasattr(value, "tolist"):
        return [_plain(one, place) for one in value]
    raise ConfigError(f"a {type(value).__name__} cannot be written as JSON", where=place)
