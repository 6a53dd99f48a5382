"""What fits were trained with: versions and device. No names of machines, users or folders."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Packages whose versions a result may depend on.
PACKAGES = (
    *("m3h-pipeline", "duckdb", "matplotlib", "numba", "numpy", "pandas", "pyarrow", "pydantic"),
    "pytabkit",
    *("safetensors", "scikit-learn", "scikit-survival", "scipy", "snakemake", "torch", "umap-learn"),
)


def versions() -> dict[str, str]:
    """Versions of Python, of the system's kind and of the packages; absent ones are left out."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_of(kind: str) -> dict[str, str]:
    """The device fits are trained on, and what drives it.

    Args:
        kind: ``cpu`` or ``cuda``.
    """
    import torch

    if kind == "cuda":
        return {
            "type": "cuda",
            "name": torch.cuda.get_device_name(),
            "driver": _text(Path("/sys/module/nvidia/version")).strip() or "unknown",
            "cuda": str(torch.version.cuda),
            # torch gives this function no hints.
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
    found = re.search(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), flags=re.MULTILINE)
    return {
        "type": "cpu",
        "name": found[1].strip() if found else platform.processor() or "unknown",
        # Which kernels run, and so how sums are rounded, depends on the instructions the processor has.
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def computes_bfloat16(described: str | None = None) -> bool:
    """Whether the processor multiplies bfloat16 matrices by instructions of its own.

    Args:
        described: as Linux describes its processors; None: those of this machine. Elsewhere: no.

    Examples:
        >>> [computes_bfloat16(f"flags : fpu avx512f{more}") for more in (" avx512_bf16", "")]
        [True, False]
    """
    text = _text(Path("/proc/cpuinfo")) if described is None else described
    return (
        re.search(r"^(flags|Features)\s*:.*\b(amx_bf16|avx512_bf16|bf16)\b", text, flags=re.MULTILINE)
        is not None
    )


def environment(kind: str) -> dict[str, Any]:
    """Versions and device, as every segment of the store carries them."""
    return {"versions": versions(), "device": device_of(kind)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
