"""Multimodal multitask learning for clinical outcomes: task search, TIM scores, reproducible figures."""

from importlib.metadata import version

__version__ = version("m3h-pipeline")
