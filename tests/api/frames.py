"""A made-up ward for the tests of the API, and models that are fitted in a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from m3h_pipeline import MultitaskModel

MODALITIES = {"labs": ["urea", "sodium", "lactate"], "vitals": ["pulse", "pressure"], "stay": ["ward", "age"]}
TASKS: dict[str, Any] = {
    "died": "binary",
    "stage": "multiclass",
    "days": {"class": "regression", "unit": "days"},
    "relapse": {"class": "survival", "time": "time", "event": "event", "unit": "years"},
}
#: Few passes and narrow layers; everything else by the recipe.
QUICK: dict[str, Any] = {
    "model": {"encoder": [8], "shared": [8], "task": [8], "decoder": [8], "projection": 4},
    "training": {"epochs": 3, "min_steps": 0, "batch_sizes": [32]},
}


def ward(n: int = 160, seed: int = 0) -> pd.DataFrame:
    """Two rows a patient; values, whole modalities and labels are missing."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    x = z @ rng.normal(size=(3, 5)) + 0.5 * rng.normal(size=(n, 5))
    frame = pd.DataFrame(x, columns=["urea", "sodium", "lactate", "pulse", "pressure"])
    frame["ward"] = rng.choice(["Cardiology", "Surgery"], n)
    frame["age"] = rng.integers(20, 90, n)
    frame["died"] = (z[:, 0] + 0.5 * rng.normal(size=n) > 0.3).astype(float)
    frame["stage"] = np.array(["I", "II", "III"])[np.digitize(z[:, 1], [-0.5, 0.5])]
    frame["days"] = 5 + z[:, 2]
    frame["time"] = rng.exponential(np.exp(-z[:, 0])) + 0.1
    frame["event"] = (rng.random(n) < 0.7).astype(int)
    frame["patient"] = [f"p{i // 2:03d}" for i in range(n)]
    frame.loc[rng.random(n) < 0.15, "urea"] = np.nan
    frame.loc[rng.random(n) < 0.15, ["pulse", "pressure"]] = np.nan
    frame.loc[rng.random(n) < 0.2, "died"] = np.nan
    frame.loc[rng.random(n) < 0.1, "ward"] = None
    return frame


def model(**changes: Any) -> MultitaskModel:
    given: dict[str, Any] = {"modalities": MODALITIES, "tasks": TASKS, "settings": QUICK, "replicates": 2}
    return MultitaskModel(**{**given, **changes})
