"""Locks: every package that the core installs, by version and by digest. ``make lock`` writes both.

``locks/gpu.txt`` is what the public index has for Linux: PyTorch with what drives NVIDIA's cards.
``locks/cpu.txt`` is the same with PyTorch's build for processors, which has an index of its own; where that
is out of reach, name a folder that holds the wheel in ``UV_FIND_LINKS``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.conftest import ROOT

KINDS = ("cpu", "gpu")
PYTHON = "3.11"
#: What comes with a card and is not in constraints.txt.
OF_CARDS = re.compile(r"(nvidia|cuda|triton)(-|$)")
#: What PyTorch asks for and every environment has; constraints.txt, as `pip freeze`, leaves it out.
EVERYWHERE = {"setuptools"}

_HEAD = """# What the core of m3h-pipeline installs on Linux (x86-64, Python {python}), {said}.
# Written by `make lock`; docs/install.md says how it is used.
"""
_SAID = {"cpu": "with PyTorch's build for processors", "gpu": "with PyTorch for NVIDIA's cards"}


def pins(text: str) -> dict[str, str]:
    """Package -> version of a lock or of constraints; names in one spelling, versions without their build.

    Examples:
        >>> pins("PyYAML==6.0.3\\ntorch==2.13.0+cpu \\\\\\n    --hash=sha256:00\\n")
        {'pyyaml': '6.0.3', 'torch': '2.13.0'}
    """
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s+]+)", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def locked(kind: str) -> str:
    """The text of a lock, resolved anew: from pyproject.toml, within constraints.txt."""
    backend = ["--torch-backend", "cpu"] if kind == "cpu" and "UV_FIND_LINKS" not in os.environ else []
    environment = {k: v for k, v in os.environ.items() if k != "UV_FIND_LINKS" or kind == "cpu"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--generate-hashes"),
            *("--constraint", "constraints.txt", "--python-version", PYTHON),
            *("--python-platform", "x86_64-manylinux_2_28", "--no-annotate", "--no-header"),
            *("--no-emit-index-url", "--no-emit-find-links", *backend),
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return _HEAD.format(python=PYTHON, said=_SAID[kind]) + done.stdout


def main() -> None:
    """Write both locks."""
    folder = ROOT / "locks"
    folder.mkdir(exist_ok=True)
    for kind, text in [(kind, locked(kind)) for kind in KINDS]:
        (folder / f"{kind}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
