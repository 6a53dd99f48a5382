"""A study's configuration: sections, loading, and the files generated from them."""

from m3h_pipeline.config.base import Subgroup
from m3h_pipeline.config.load import load_study, located_source, read_yaml, settings, validate
from m3h_pipeline.config.mimic import MimicEmbedding, MimicSource
from m3h_pipeline.config.sections import (
    Attention,
    Compute,
    Evaluation,
    Figures,
    GenePairs,
    Modality,
    Model,
    Networks,
    Search,
    Split,
    Study,
    SurvivalHead,
    TaskSelection,
    Tim,
    Training,
)
from m3h_pipeline.config.sources import HaimSource, SyntheticSource, TableBlock, TableFile, TableSource

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
    "Tim",
    "Training",
    "load_study",
    "located_source",
    "read_yaml",
    "settings",
    "validate",
]
