"""Multimodal multitask learning for clinical outcomes: task search, TIM scores, reproducible figures."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("m3h-pipeline")
except PackageNotFoundError:  # Run from its folder, where nothing can be installed.
    __version__ = "unknown"
