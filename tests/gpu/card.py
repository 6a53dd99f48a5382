"""The device that is measured: which it is, its own rates, and the file that keeps what was found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from m3h_pipeline.environment import device_of, versions

ROOT = Path(__file__).resolve().parents[2]
#: What the file of a card holds; another number: other fields.
FORMAT = 1


def slug(name: str) -> str:
    """A device's name as that of its file.

    Examples:
        >>> slug("NVIDIA H100 80GB HBM3")
        'nvidia-h100-80gb-hbm3'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def commit() -> str:
    """The commit that is measured; ``+`` behind it: with changes. ``unknown`` where nothing says it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + "+" * bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("M3H_COMMIT", "unknown")


def described(device: torch.device) -> dict[str, Any]:
    """The device, what drives it, versions of what computes. No names of machines."""
    found: dict[str, Any] = device_of(device.type)
    if device.type == "cuda":
        found["memory_gb"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)
    known = versions()
    packages = ("python", "torch", "numpy", "scipy", "pandas", "scikit-learn", "safetensors")
    return {"device": found, "versions": {name: known[name] for name in packages if name in known}}


def record(folder: Path, device: torch.device, part: str, found: Mapping[str, Any]) -> Path:
    """Put what a part has found into the file of the device, beside that of the others."""
    about = described(device)
    path = folder / f"{slug(about['device']['name'])}.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    parts = content.get("parts", {}) if content.get("format") == FORMAT else {}
    parts[part] = {"date": datetime.now(UTC).date().isoformat(), "commit": commit(), **found}
    folder.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".part")
    text = json.dumps({"format": FORMAT, **about, "parts": parts}, indent=1, sort_keys=True)
    written.write_text(text + "\n", encoding="utf-8")
    written.replace(path)
    return path


def now(device: torch.device) -> float:
    """Seconds of the wall once a GPU has done its work; on a CPU, which others share, of the processor."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def seconds(run: Callable[[], object], device: torch.device, least: float, most: int = 10_000) -> float:
    """Seconds of one call: the smallest mean of three rows of calls, of at least ``least`` seconds each."""
    run()
    started = now(device)
    run()
    number = min(most, max(1, round(least / max(now(device) - started, 1e-7))))
    means = []
    for _ in range(3):
        started = now(device)
        for _ in range(number):
            run()
        means.append((now(device) - started) / number)
    return min(means)


def roofline(device: torch.device, size: int, megabytes: int, least: float) -> dict[str, float]:
    """What the device does at most, measured: bytes copied (read and written) and operations of products.

    Args:
        device: measured.
        size: of square matrices.
        megabytes: copied at once.
        least: seconds of each measurement.

    Returns:
        ``copy`` in GB/s; ``float32``, ``tf32`` and ``bfloat16`` in GFLOP/s.
    """
    source = torch.rand(megabytes * 2**18, device=device)
    target = torch.empty_like(source)
    found = {"copy": 2 * source.nbytes / seconds(lambda: target.copy_(source), device, least) / 1e9}
    before = torch.get_float32_matmul_precision()
    for precision, kind in (("float32", None), ("tf32", None), ("bfloat16", torch.bfloat16)):
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        a, b = (torch.rand(size, size, device=device).to(kind or torch.float32) for _ in range(2))
        out = torch.empty_like(a)
        each = seconds(partial(torch.mm, a, b, out=out), device, least)
        found[precision] = 2 * size**3 / each / 1e9
    torch.set_float32_matmul_precision(before)
    return {name: round(value, 1) for name, value in found.items()}
