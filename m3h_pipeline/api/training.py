"""Rows of a data frame and the settings of a model, as training takes those of a study."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from m3h_pipeline.api.asked import brief
from m3h_pipeline.api.frames import Column, feature_values, learned_columns
from m3h_pipeline.api.outcomes import Outcome, labels, learned
from m3h_pipeline.coding import Float32Array
from m3h_pipeline.config import Compute, Modality, Model, Training, validate
from m3h_pipeline.config.recipes import with_recipes
from m3h_pipeline.config.recipes.values import RECIPES
from m3h_pipeline.errors import ConfigError, nearest
from m3h_pipeline.features.indicators import indicated, with_indicators
from m3h_pipeline.search.combinations import settings_of
from m3h_pipeline.search.sizes import Shape, sized
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.spec import TrainingSettings

IntArray = npt.NDArray[np.int64]
_SECTIONS = ("model", "training", "compute", "modalities")


def settings_for(
    recipe: str, sections: Mapping[str, Any], widths: Mapping[str, int], rows: int, seed: int
) -> TrainingSettings:
    """What a model is trained with: what it states, laid over its recipe as a study's is.

    Args:
        recipe: its name.
        sections: keys of the sections ``model``, ``training``, ``compute`` and ``modalities`` of a study.
        widths: modality -> how many features it has.
        rows: that it is trained on; sizes may follow from them (``training.sizes``).
        seed: of everything random.

    Raises:
        ConfigError: there is no such recipe, section, modality or key, or a value does not fit.
    """
    if not isinstance(recipe, str) or recipe not in RECIPES:
        shown = recipe if isinstance(recipe, str) else brief(recipe)
        raise ConfigError(f"there is no recipe `{shown}`", where="recipe", hint=nearest(shown, RECIPES))
    if not isinstance(sections, Mapping):
        raise ConfigError(
            f"`settings` is a mapping of sections of a study, not {brief(sections)}",
            hint='for example {"training": {"epochs": 20}}',
        )
    for name in sections:
        if name not in _SECTIONS:
            hint = nearest(str(name), _SECTIONS)
            raise ConfigError(f"there is no section `{name}`", where="settings", hint=hint)
    own = sections.get("modalities", {})
    if not isinstance(own, Mapping) or not all(isinstance(value, Mapping) for value in own.values()):
        raise ConfigError("a mapping of modalities to their keys", where="settings['modalities']")
    for name in own:
        if name not in widths:
            hint = nearest(str(name), widths)
            raise ConfigError(f"there is no modality `{name}`", where="settings['modalities']", hint=hint)
    stated = {name: {"sources": [name], **own.get(name, {})} for name in sorted(widths)}
    laid = with_recipes(
        {
            "recipe": recipe,
            **{key: sections[key] for key in sections if key != "compute"},
            "modalities": stated,
        }
    )
    model = validate(Model, laid.get("model", {}), "settings['model']")
    training = validate(Training, laid.get("training", {}), "settings['training']")
    model, training = sized(model, training, Shape(rows, widths))
    for name, value in laid["modalities"].items():
        if (value.get("transcriptome") or {}).get("genes"):
            raise ConfigError(
                "vectors that genes start from are made by a study",
                where=f"settings['modalities']['{name}']",
                hint="leave `genes` out, or run a study",
            )
    return TrainingSettings(
        model,
        training,
        validate(Compute, sections.get("compute", {}), "settings['compute']"),
        {
            name: validate(Modality, value, f"settings['modalities']['{name}']")
            for name, value in laid["modalities"].items()
        },
        seed,
    )


def one_setting(training: Training) -> tuple[int, float]:
    """Batch size and learning rate of a model, which chooses between none.

    Raises:
        ConfigError: several are given.
    """
    first, *others = settings_of(training)
    if others:
        raise ConfigError(
            f"{1 + len(others)} settings of batch size and learning rate, and a model chooses between none",
            where="settings['training']",
            hint="give one of `batch_sizes` and one of `learning_rates`, or run a study, which chooses",
        )
    return first


@dataclass(frozen=True)
class Rows:
    """Rows to learn from, in an order that depends on what they hold alone.

    Attributes:
        features: modality -> (n, F), NaN = missing.
        labels: task -> (n,), NaN = not observed.
        groups: of each row the name of its group (a patient).
        columns: modality -> how its columns become features.
        outcomes: the tasks, with the classes they hold.
    """

    features: dict[str, Float32Array]
    labels: dict[str, Float32Array]
    groups: list[str]
    columns: dict[str, list[Column]]
    outcomes: dict[str, Outcome]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.groups)

    @property
    def patient(self) -> IntArray:
        """(n,) number of each row's patient."""
        return np.unique(self.groups, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def arrays(self, settings: TrainingSettings, fold: IntArray | None = None) -> StudyData:
        """The arrays as those of a study, all rows in the training part.

        Args:
            settings: says which modalities have indicators.
            fold: (n,) of each row; None: there are none, and a fit is of all rows.
        """
        features, labels, patient = self.features, self.labels, self.patient
        if fold is None:
            # A fit of all rows is scored on a test part: another row, without labels, stands for it.
            features = {name: np.concatenate([x, x[:1]]) for name, x in features.items()}
            labels = {name: np.append(y, np.float32(np.nan)) for name, y in labels.items()}
            patient = np.append(patient, patient.max() + 1)
        train = np.arange(len(patient)) < self.n
        which, whole = {}, {}
        for name, x in features.items():
            whole[name] = x
            if settings.modalities[name].indicators:
                which[name] = indicated(x, train, patient)
                whole[name] = with_indicators(x, which[name])
        return StudyData(
            whole,
            dict(labels),
            {name: one.description for name, one in self.outcomes.items()},
            train,
            np.where(train, 0, -1) if fold is None else fold,
            {name: [f for column in self.columns[name] for f in column.features] for name in features},
            patient,
            indicated=which,
        )


def rows_of(
    frame: pd.DataFrame,
    modalities: Mapping[str, Sequence[str]],
    outcomes: Mapping[str, Outcome],
    answers: pd.DataFrame,
    groups: Sequence[Any] | None,
) -> Rows:
    """Rows to learn from, of a frame that has every column.

    Args:
        frame: of the features.
        modalities: name -> its columns.
        outcomes: the tasks.
        answers: of the outcomes, row by row; it may be ``frame``.
        groups: of each row; None: each is its own.

    Raises:
        InputError: a column holds neither numbers nor categories, or an infinite number.
        TaskError: a column holds what is no label, or nothing to learn from.
    """
    whose: Sequence[Any] = range(len(frame)) if groups is None else [str(one) for one in groups]
    every = (column for names in modalities.values() for column in names)
    known_columns = learned_columns(frame, every, np.asarray(whose))
    columns = {
        name: [known_columns[column] for column in names] for name, names in sorted(modalities.items())
    }
    known = {name: learned(one, answers) for name, one in outcomes.items()}
    features = {name: feature_values(frame, one) for name, one in columns.items()}
    y = {name: labels(one, answers) for name, one in known.items()}
    order = row_order(features, y, [""] * len(frame) if groups is None else whose)
    digits = len(str(len(frame)))
    return Rows(
        {name: x[order] for name, x in features.items()},
        {name: one[order] for name, one in y.items()},
        [f"{i:0{digits}d}" for i in range(len(frame))] if groups is None else [str(whose[i]) for i in order],
        columns,
        known,
    )


def row_order(
    features: Mapping[str, Float32Array], labels: Mapping[str, Float32Array], groups: Sequence[Any]
) -> IntArray:
    """An order of the rows that depends on what they hold alone, so that a fit knows no order of its frame.

    Shape:
        (n,), numbers of rows
    """
    parts = [np.ascontiguousarray(features[name]) for name in sorted(features)]
    parts += [np.ascontiguousarray(labels[name])[:, None] for name in sorted(labels)]
    # One NaN: a missing value has many representations.
    table = np.concatenate(parts, axis=1)
    table[np.isnan(table)] = np.nan
    # 0.0 and -0.0 are times of censoring and of an event: they stay apart.
    keys = [
        hashlib.sha256(row.tobytes() + str(group).encode()).digest()
        for row, group in zip(table, groups, strict=True)
    ]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
