"""Multimodal multitask learning for clinical outcomes: task search, TIM scores, reproducible figures.

The names of the Python API (docs/api.md) are loaded when they are asked for, so that ``import m3h_pipeline``
takes no time.

Examples:
    >>> import m3h_pipeline as m3h
    >>> m3h.MultitaskModel({"labs": ["urea"]}, {"died": "binary"})
    MultitaskModel(modalities={'labs': ['urea']}, tasks={'died': 'binary'})
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import m3h_pipeline.api.plot as plot
    from m3h_pipeline.api.bundles import load_bundle
    from m3h_pipeline.api.interaction import tim_scores
    from m3h_pipeline.api.model import MultitaskModel
    from m3h_pipeline.api.study import Study
    from m3h_pipeline.errors import M3HError

#: Name -> the module that has it; a module itself stands for its last name.
_PUBLIC = {
    "M3HError": "m3h_pipeline.errors",
    "MultitaskModel": "m3h_pipeline.api.model",
    "Study": "m3h_pipeline.api.study",
    "load_bundle": "m3h_pipeline.api.bundles",
    "plot": "m3h_pipeline.api.plot",
    "tim_scores": "m3h_pipeline.api.interaction",
}

__all__ = ["M3HError", "MultitaskModel", "Study", "load_bundle", "plot", "tim_scores"]

try:
    __version__ = version("m3h-pipeline")
except PackageNotFoundError:  # Run from its folder, where nothing can be installed.
    __version__ = "unknown"


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_PUBLIC[name])
        return module if _PUBLIC[name].endswith(f".{name}") else getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PUBLIC})
