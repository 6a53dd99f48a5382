"""Deep references for one table, with their authors' tuned defaults: RealMLP and TabM, from pytabkit.

- RealMLP-TD: Holzmüller, Grinsztajn, Steinwart: Better by default. NeurIPS 2024, arXiv 2407.04491.
- TabM: Gorishniy, Kotelnikov, Babenko: TabM. ICLR 2025, arXiv 2410.24210. Its paper's defaults (TabM-D).

pytabkit (Apache-2.0) is an optional extra, ``deep``. Nothing is tuned: a fifth of the training patients says
when to stop, of classes by cross-entropy and without label smoothing, as its authors advise where AUROC
counts and not accuracy. Neither knows censored times.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.errors import ConfigError
from m3h_pipeline.references.problem import Floats, Problem, all_classes, constant

#: Names are those of ``evaluation.baselines``.
DEEP = ("realmlp", "tabm")
#: Share of the training patients on whom a fit is stopped.
_STOPPING = 0.2
#: Labelled patients without whom there is nothing to stop on.
_LEAST = 10


def needs(baselines: Sequence[str]) -> None:
    """Refuse deep references where their package is absent.

    Args:
        baselines: ``evaluation.baselines``.

    Raises:
        ConfigError: one is named, and pytabkit is not installed.
    """
    named = [name for name in baselines if name in DEEP]
    if named and find_spec("pytabkit") is None:
        raise ConfigError(
            f"`{named[0]}` is a model of the package pytabkit, which is not installed",
            where="evaluation.baselines",
            hint="in the folder of the project: pip install --constraint constraints.txt '.[deep]'",
        )


def deep_path(
    name: str, problem: Problem[Floats], patients: npt.NDArray[np.int64], seed: int
) -> list[Floats]:
    """The prediction of RealMLP or TabM, on one thread; the same seed gives the same numbers.

    Args:
        name: of :data:`DEEP`.
        problem: without missing values.
        patients: whose the training rows are, (n,).
        seed: of first weights, batches, dropout, and of who is set aside.

    Returns:
        One (m, width) float64 array.

    Raises:
        ConfigError: pytabkit is not installed.
    """
    needs([name])
    present = np.unique(problem.y)
    aside = set_aside(patients, seed)
    if len(present) < 2 or not aside.any():
        return [constant(problem)]
    regression = problem.problem_class == "regression"
    if not regression and len(np.unique(problem.y[~aside])) < 2:
        return [constant(problem)]
    with _alone():
        model = _estimator(name, regression, seed)
        y = problem.y if regression else problem.y.astype(np.int64)
        x, scored = (np.asarray(part, dtype=np.float32) for part in (problem.x, problem.scored))
        model.fit(x, y, val_idxs=np.flatnonzero(aside))
        found = model.predict(scored) if regression else model.predict_proba(scored)
    found = np.asarray(found, dtype=np.float64)
    if regression:
        return [found.reshape(-1, 1)]
    return [all_classes(problem, present.astype(np.int64), found)]


def set_aside(patients: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.bool_]:
    """Rows of a fifth of the patients, (n,); of fewer than ten patients nobody's.

    Examples:
        >>> rows = set_aside(np.repeat(np.arange(20), 2), 0)
        >>> int(rows.sum()), bool((rows[::2] == rows[1::2]).all())
        (8, True)
    """
    known = np.unique(patients)
    if len(known) < _LEAST:
        return np.zeros(len(patients), dtype=bool)
    drawn = np.random.default_rng(seed).permutation(known)[: round(_STOPPING * len(known))]
    return np.isin(patients, drawn)


def _estimator(name: str, regression: bool, seed: int) -> Any:
    import pytabkit

    kinds = {
        ("realmlp", False): pytabkit.RealMLP_TD_Classifier,
        ("realmlp", True): pytabkit.RealMLP_TD_Regressor,
        ("tabm", False): pytabkit.TabM_D_Classifier,
        ("tabm", True): pytabkit.TabM_D_Regressor,
    }
    options: dict[str, Any] = {} if regression else {"val_metric_name": "cross_entropy"}
    if name == "realmlp" and not regression:
        options["use_ls"] = False
    # Seeds are 32 bits there.
    return kinds[name, regression](
        device="cpu", n_threads=1, random_state=seed % 2**31, verbosity=0, **options
    )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """What pytabkit and Lightning print stays theirs, and the random numbers of others stay as they were."""
    import torch

    state, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        # Lightning sets the level of its loggers when it is imported.
        import_module("pytabkit")
        loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning")]
        levels = [logger.level for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numbers)  # noqa: NPY002
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
