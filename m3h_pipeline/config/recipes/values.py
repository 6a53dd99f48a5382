"""What each recipe says.

A key that a recipe does not name has the default of its field, which leaves a network as it was before the
option existed: a new option changes no recipe until one of them names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

RecipeName = Literal["default", "published"]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Values of keys, as they would stand in a study.

    Attributes:
        model: keys of ``model``.
        training: keys of ``training``.
        modality: keys of every ``modalities.<name>``.
        transcriptome: further ones, of modalities with that encoder.
    """

    model: Values = field(default_factory=dict)
    training: Values = field(default_factory=dict)
    modality: Values = field(default_factory=dict)
    transcriptome: Values = field(default_factory=dict)

    def of_modality(self, encoder: object) -> dict[str, Any]:
        """Keys of a modality with an encoder, as a study names it."""
        return dict(self.modality) | (dict(self.transcriptome) if encoder == "transcriptome" else {})


RECIPES: dict[RecipeName, Recipe] = {
    # What was earned (docs/ablation.md).
    "default": Recipe(
        model={
            "attention": {"own_weight": "constant"},
            "linear_path": True,
            "regression": {"loss": "squared"},
            "absence": "learned",
            "dropout": 0.4,
        },
        training={
            "epochs": 40,
            "min_steps": 600,
            "batch_sizes": [128],
            "learning_rates": [1e-3],
            "weight_decay": 2.0,
            "early_stopping": {"patience": 5, "fraction": 0.2, "refit": True},
            "contrastive_weight": 0.0,
            "modality_dropout": 0.1,
            "output_bias": "prior",
        },
        modality={"indicators": True},
        transcriptome={"indicators": False},
    ),
    # M3H (arXiv 2404.18975), Methods and Algorithm 1; of a transcriptome encoder TxT (bbaf628). What they do
    # not say is in docs/recipes.md.
    "published": Recipe(
        model={
            "encoder": [256, 128],
            "projection": 64,
            "temperature": 0.1,
            "shared": [256, 128],
            "task": [64],
            "task_network": "mlp",
            "decoder": [256],
            "attention": {"alpha": 0.1, "normalise": "published", "own_weight": "published"},
            "linear_path": False,
            "regression": {"loss": "absolute"},
            "absence": "mean",
            "dropout": 0.0,
            "input_dropout": 0.0,
            "negative_slope": 0.0,
        },
        training={
            "sizes": [],
            "epochs": 15,
            "min_steps": 0,
            "batch_sizes": [256, 512],
            "learning_rates": [5e-4, 1e-3],
            "weight_decay": 0.0,
            "update": "sequential",
            "early_stopping": None,
            "balance": "fixed",
            "contrastive_weight": 1.0,
            "modality_dropout": 0.0,
            "rare_below": 0.1,
            "output_bias": "rare",
            "gradient_clip": None,
        },
        modality={"scaling": "standard", "indicators": False},
        transcriptome={"scaling": "minmax", "transcriptome": {"normalise": "batch"}},
    ),
}


def values_of(recipe: Recipe, encoders: Mapping[str, object]) -> dict[str, Any]:
    """What a recipe says of a study.

    Args:
        recipe: whose values.
        encoders: modality -> its encoder.

    Returns:
        Sections ``model``, ``training``, ``modalities`` with the keys that it names.
    """
    modalities = {name: recipe.of_modality(encoder) for name, encoder in encoders.items()}
    return {"model": dict(recipe.model), "training": dict(recipe.training), "modalities": modalities}


def keys_of(encoders: Mapping[str, object]) -> dict[str, Any]:
    """The same sections with every key that some recipe names; the values count for nothing."""
    keys: dict[str, Any] = {}
    for recipe in RECIPES.values():
        keys = merged(keys, values_of(recipe, encoders))
    return keys


def merged(content: Any, change: Any) -> Any:
    """Content with what changes in it, section by section; a value replaces, null too.

    Examples:
        >>> merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": None}})
        {'a': 1, 'b': {'c': None, 'd': 3}}
    """
    if not isinstance(content, Mapping) or not isinstance(change, Mapping):
        return change
    return {**content, **{key: merged(content.get(key), value) for key, value in change.items()}}
