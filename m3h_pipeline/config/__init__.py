"""A study's configuration: sections, loading, and the files generated from them.

What is asked for is loaded then: a machine that trains from arrays needs the sections of training alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3h_pipeline.config.arguments import settings
    from m3h_pipeline.config.base import Subgroup
    from m3h_pipeline.config.load import load_study, read_yaml
    from m3h_pipeline.config.mimic import MimicEmbedding, MimicSource
    from m3h_pipeline.config.model import Attention, Modality, Model, RegressionHead, SurvivalHead
    from m3h_pipeline.config.paths import located_source
    from m3h_pipeline.config.results import (
        Evaluation,
        Figures,
        GenePairs,
        Networks,
        Purpose,
        Thresholds,
    )
    from m3h_pipeline.config.sources import HaimSource, SyntheticSource, TableBlock, TableFile, TableSource
    from m3h_pipeline.config.study import Split, Study, TaskSelection
    from m3h_pipeline.config.training import Compute, Race, Search, Tim, Training
    from m3h_pipeline.config.validation import validate

#: Where names are looked for, what needs least first.
_MODULES = (
    "base",
    "model",
    "training",
    "results",
    "mimic",
    "sources",
    "study",
    "validation",
    "load",
    "paths",
    "arguments",
)

__all__ = [
    "Attention",
    "Compute",
    "Evaluation",
    "Figures",
    "GenePairs",
    "HaimSource",
    "MimicEmbedding",
    "MimicSource",
    "Modality",
    "Model",
    "Networks",
    "Purpose",
    "Race",
    "RegressionHead",
    "Search",
    "Split",
    "Study",
    "Subgroup",
    "SurvivalHead",
    "SyntheticSource",
    "TableBlock",
    "TableFile",
    "TableSource",
    "TaskSelection",
    "Thresholds",
    "Tim",
    "Training",
    "load_study",
    "located_source",
    "read_yaml",
    "settings",
    "validate",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            for module in _MODULES:
                found = vars(import_module(f"{__name__}.{module}"))
                if name in found:
                    return found[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
