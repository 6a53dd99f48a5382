"""A multitask model on data frames, with scikit-learn's habits; nothing but its fit is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from m3h_pipeline.api import saved
from m3h_pipeline.api.asked import (
    answers_of,
    check_disjoint,
    check_same_rows,
    modalities_of,
    place,
    several,
    whole,
)
from m3h_pipeline.api.frames import (
    Column,
    check_columns,
    check_types,
    checked_frame,
    column_names,
    feature_values,
)
from m3h_pipeline.api.outcomes import labels, outcomes_of
from m3h_pipeline.api.training import Rows, one_setting, rows_of, settings_for
from m3h_pipeline.coding import Float32Array
from m3h_pipeline.errors import ConfigError, InputError, TaskError, nearest
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.inference.scored import ensemble
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.fitted import TIMES, FittedModel
from m3h_pipeline.training.spec import FitSpec, TrainingSettings

Array = npt.NDArray[Any]


class MultitaskModel(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """One network for several tasks, fitted on a data frame.

    What is trained is what a study trains for one combination of tasks, by the same code and, unless
    ``settings`` say otherwise, by the default recipe. Columns are known by name: neither their order nor that
    of the rows means anything. Texts and categories become one feature per value that 11 patients have; every
    other value is "other", or missing where none was rare in training. Missing values are NaN, in features,
    whole modalities and labels alike.

    Args:
        modalities: name -> its columns, numbers or categories.
        tasks: name -> problem class (``binary``, ``multiclass``, ``regression``, ``clustering``) of the
            column of that name, or a mapping: ``{"class": "binary", "column": "Died (28 d)"}``,
            ``{"class": "survival", "time": "days", "event": "died"}``, also ``title``, ``department``,
            ``unit``, ``clusters``.
        recipe: ``default`` or ``published`` (docs/recipes.md).
        settings: keys of the sections ``model``, ``training``, ``compute`` and ``modalities`` of a study that
            differ from the recipe.
        replicates: networks with other seeds, whose predictions are averaged.
        seed: of everything random.

    Attributes:
        classes_: binary or multiclass task -> its classes, in the order of :meth:`predict_proba`.
        features_: modality -> names of its features.
        feature_names_in_: columns that a frame must have to be predicted.
        n_features_in_: how many these are.
        n_iter_: epochs of each replicate.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> frame = pd.DataFrame({"urea": rng.normal(size=200), "age": rng.uniform(20, 90, 200)})
        >>> frame["died"] = (frame["urea"] + rng.normal(size=200) > 1).astype(float)
        >>> frame["stay"] = 5 + frame["urea"]
        >>> model = MultitaskModel(
        ...     {"labs": ["urea"], "person": ["age"]},
        ...     {"died": "binary", "stay": "regression"},
        ...     settings={"model": {"encoder": [8], "shared": [8], "task": [8]}},
        ...     replicates=1,
        ... ).fit(frame)
        >>> model.predict(frame.head(2)).columns.tolist()
        ['died', 'stay']
        >>> model.predict_proba(frame)["died"].shape
        (200, 2)
        >>> bool(model.scores(frame)["stay"] > 0.8)
        True
        >>> try:
        ...     model.predict(frame[["age"]])
        ... except InputError as error:
        ...     print(error.what)
        1 column(s) are missing: `urea`
    """

    def __init__(
        self,
        modalities: Mapping[str, Sequence[str]],
        tasks: Mapping[str, str | Mapping[str, Any]],
        *,
        recipe: str = "default",
        settings: Mapping[str, Any] | None = None,
        replicates: int = 3,
        seed: int = 20240418,
    ) -> None:
        self.modalities = modalities
        self.tasks = tasks
        self.recipe = recipe
        self.settings = settings
        self.replicates = replicates
        self.seed = seed

    def fit(
        self,
        X: pd.DataFrame,
        y: pd.DataFrame | None = None,
        groups: Sequence[Any] | pd.Series[Any] | str | None = None,
    ) -> MultitaskModel:
        """Fit the tasks together.

        Args:
            X: the columns of the modalities and, unless ``y`` has them, of the outcomes; NaN = missing.
            y: the columns of the outcomes, row by row, with the index of ``X``.
            groups: of each row, best the patient: rows of one patient are set aside together (early stopping)
                and count once where 11 patients are asked for. A sequence, or the name of a column of ``X``.
                None: every row is a patient of its own.

        Raises:
            InputError: columns are missing, or hold neither numbers nor categories; a group is missing.
            TaskError: a task cannot be understood, or its column holds what is no label; a fit diverged.
            ConfigError: a modality or a setting cannot be understood.
        """
        rows = self._rows(X, y, groups)
        settings = self.training_settings(rows)
        batch_size, rate = one_setting(settings.training)
        tasks = tuple(sorted(rows.outcomes))
        specs = [FitSpec(tasks, -1, r, batch_size, rate) for r in range(self.replicates)]
        fits = run_fits(specs, rows.arrays(settings), settings, keep_models=True)
        if diverged := [fit for fit in fits if not fit.kept]:
            raise TaskError(
                f"{len(diverged)} of {len(fits)} fits diverged",
                hint="lower `training.learning_rates`, or set `training.gradient_clip`",
            )
        self._known = saved.Known(rows.columns, rows.outcomes, [saved.Fit.of(fit) for fit in fits])
        self._training: Rows | None = rows
        return self._fitted()

    def predict(self, X: pd.DataFrame, absent: Sequence[str] = ()) -> pd.DataFrame:
        """What is predicted, one column per task: class, value, risk (survival), or cluster.

        Args:
            X: has every column in ``feature_names_in_``; others do not count.
            absent: modalities that no row has; their columns need not be there.

        Raises:
            InputError: columns are missing, all of which are listed, or hold another type than in training.
        """
        found: dict[str, Array] = {}
        for name, raw in self._raw(X, absent).items():
            kind = self._known.outcomes[name].problem_class
            if kind == "binary":
                found[name] = (raw[:, 0] > 0.5).astype(np.int64)
            elif kind == "multiclass":
                found[name] = self.classes_[name][raw.argmax(axis=1)]
            else:
                found[name] = raw[:, 0].astype(np.int64) if kind == "clustering" else raw[:, 0]
        return pd.DataFrame(found, index=X.index)

    def predict_proba(self, X: pd.DataFrame, absent: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
        """Binary or multiclass task -> probability of each class, one column each; see :meth:`predict`."""
        found = {}
        for name, raw in self._raw(X, absent).items():
            if name in self.classes_:
                both = np.stack([1 - raw[:, 0], raw[:, 0]], axis=1) if raw.shape[1] == 1 else raw
                found[name] = pd.DataFrame(both, index=X.index, columns=pd.Index(self.classes_[name]))
        return found

    def predict_survival(self, X: pd.DataFrame, absent: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
        """Survival task -> probability of no event until each time, one column each; see :meth:`predict`."""
        found = {}
        for name, raw in self._raw(X, absent).items():
            if self._known.outcomes[name].problem_class == "survival":
                # Times are rounded: several may have become one.
                times, first = np.unique(self._known.fits[0].arrays[f"{TIMES}{name}/grid"], return_index=True)
                found[name] = pd.DataFrame(raw[:, 1 + first], index=X.index, columns=pd.Index(times))
        return found

    def scores(self, X: pd.DataFrame, y: pd.DataFrame | None = None) -> pd.Series[Any]:
        """The metric of each task: AUROC (multiclass: mean over classes), R², concordance, silhouette.

        NaN where it is undefined. Rows without a label do not count.

        Raises:
            InputError: as of :meth:`predict`; the columns of the outcomes must be there, too.
            TaskError: a column holds what is no label.
        """
        raw = self._raw(X)
        answers = answers_of(X, y, self._known.outcomes)
        return pd.Series(
            {
                name: metric(one.description["metric"], labels(one, answers), raw[name])
                for name, one in self._known.outcomes.items()
            },
            name="score",
        )

    def score(self, X: pd.DataFrame, y: pd.DataFrame | None = None) -> float:
        """Mean of :meth:`scores` over the tasks for which it is defined."""
        return float(self.scores(X, y).mean())

    def save(self, folder: Path | str) -> None:
        """Write the model to a folder: its description as JSON, its parameters as safetensors.

        No row that it was fitted on is written.

        Raises:
            InputError: the folder cannot be written, or is no path.
        """
        check_is_fitted(self)
        saved.write(self._known, self.get_params(), place(folder, "the folder of a model"))

    @classmethod
    def load(cls, folder: Path | str) -> MultitaskModel:
        """Read a model that :meth:`save` has written.

        Raises:
            InputError: a file is absent or damaged, was written by a newer version, or ``folder`` is no path.
        """
        known, parameters = saved.read(place(folder, "the folder of a model"))
        model = cls(**parameters)
        model._known, model._training = known, None
        return model._fitted()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_known")

    def __getstate__(self) -> dict[str, Any]:
        """What a copy keeps: not the rows of patients."""
        state = dict(super().__getstate__())
        if "_training" in state:
            state["_training"] = None
        return state

    def _fitted(self) -> MultitaskModel:
        known = self._known
        self.classes_: dict[str, Array] = {
            name: np.array([0, 1]) if one.problem_class == "binary" else np.array(one.classes)
            for name, one in known.outcomes.items()
            if one.problem_class in {"binary", "multiclass"}
        }
        self.features_ = {
            name: [feature for column in columns for feature in column.features]
            for name, columns in known.columns.items()
        }
        self.feature_names_in_ = np.array(column_names(known.columns), dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self.n_iter_ = [fit.epochs for fit in known.fits]
        # How a product is rounded depends on how many rows stand in it. In float64, and rounded to float32 at
        # the end, what is predicted of a row does not depend on the others.
        self._networks = [FittedModel(fit.arrays, fit.metadata, torch.float64) for fit in known.fits]
        return self

    def _rows(
        self, X: pd.DataFrame, y: pd.DataFrame | None, groups: Sequence[Any] | pd.Series[Any] | str | None
    ) -> Rows:
        """Rows to learn from."""
        modalities, outcomes = modalities_of(self.modalities), outcomes_of(self.tasks)
        frame = checked_frame(X)
        check_disjoint(modalities, outcomes)
        names = [name for columns in modalities.values() for name in columns]
        wanted = [*names, *([groups] if isinstance(groups, str) else [])]
        if y is None:
            wanted += [name for one in outcomes.values() for name in one.columns]
        check_columns(frame, wanted)
        if isinstance(groups, str) and groups in names:
            raise ConfigError(f"`{groups}` says whose the rows are, and is no feature", where="modalities")
        whose = frame[groups].tolist() if isinstance(groups, str) else groups
        if whose is not None:
            check_same_rows(frame, whose, "`groups`")
            whose = list(whose)
            if len(whose) != len(frame):
                raise InputError(f"{len(whose):,} groups for {len(frame):,} rows", where="groups")
            if pd.isna(pd.Series(whose, dtype=object)).any():
                raise InputError("a row has no group", where="groups", hint="say whose each row is")
        return rows_of(frame, modalities, outcomes, answers_of(frame, y, outcomes), whose)

    def training_rows(
        self,
        X: pd.DataFrame | None,
        y: pd.DataFrame | None,
        groups: Sequence[Any] | pd.Series[Any] | str | None,
    ) -> Rows:
        """The rows that :meth:`fit` learns from; of no ``X`` those that it has learned from.

        Raises:
            InputError: they are not there any more, or as of :meth:`fit`.
        """
        if X is not None:
            return self._rows(X, y, groups)
        kept: Rows | None = getattr(self, "_training", None)
        if kept is None:
            raise InputError(
                "the model does not have the rows that it was fitted on: it was read from disk, or copied",
                hint="give them again: `X`, and `y` and `groups` as for `fit`",
            )
        return kept

    def training_settings(self, rows: Rows) -> TrainingSettings:
        """What some rows are trained with.

        Raises:
            ConfigError: a parameter of the model cannot be used.
        """
        whole(self.replicates, "replicates", 1)
        seed = whole(self.seed, "seed")
        widths = {name: x.shape[1] for name, x in rows.features.items()}
        settings = {} if self.settings is None else self.settings
        return settings_for(self.recipe, settings, widths, rows.n, seed)

    def _raw(self, X: pd.DataFrame, absent: Sequence[str] = ()) -> dict[str, npt.NDArray[np.float64]]:
        """Task -> (n, width) as of ``contracts.PREDICTIONS``, mean over replicates."""
        check_is_fitted(self)
        for name in several(absent, "absent"):
            if name not in self._known.columns:
                hint = nearest(str(name), self._known.columns)
                raise InputError(f"there is no modality `{name}`", where="absent", hint=hint)
        present = {name: one for name, one in self._known.columns.items() if name not in absent}
        if not present:
            raise InputError("every modality is absent: there is nothing to predict from", where="absent")
        frame = checked_frame(X)
        check_columns(frame, column_names(present))
        check_types(frame, (column for columns in present.values() for column in columns))
        features = {name: _values(frame, one, name in present) for name, one in self._known.columns.items()}
        every = [network.predict(features) for network in self._networks]
        return {
            name: ensemble(np.stack([one[name] for one in every]), outcome.problem_class)
            for name, outcome in self._known.outcomes.items()
        }


def _values(frame: pd.DataFrame, columns: Sequence[Column], present: bool) -> Float32Array:
    if present:
        return feature_values(frame, columns)
    return np.full((len(frame), sum(len(one.features) for one in columns)), np.nan, dtype=np.float32)
