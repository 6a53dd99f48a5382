"""Environments with the pinned packages, all written from ``constraints.txt``: conda, Apptainer.

After changing the pins run ``python -m m3h_pipeline.config.environments``; a test fails where they drifted.
"""

from __future__ import annotations

from pathlib import Path

from m3h_pipeline.shipped import FOLDERS

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.11"


def pins(text: str) -> list[str]:
    """The pins of a constraints file, in its order.

    Examples:
        >>> pins("# versions\\nnumpy==2.4.6\\n\\ntorch==2.13.0\\n")
        ['numpy==2.4.6', 'torch==2.13.0']
    """
    return [line.strip() for line in text.splitlines() if "==" in line and not line.startswith("#")]


def conda(pinned: list[str]) -> str:
    """The text of ``workflow/envs/m3h.yaml``."""
    head = f"""# Written from constraints.txt by `python -m m3h_pipeline.config.environments`.
# For `snakemake --sdm conda` in the repository's folder: Snakemake copies this file to .snakemake/conda, from
# where `../..` is the package. Without that option nobody reads it.
name: m3h
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python ={PYTHON}
  - pip
  - pip:
"""
    return head + "".join(f"      - {pin}\n" for pin in pinned) + "      - ../..\n"


def apptainer(pinned: list[str]) -> str:
    """The text of ``workflow/envs/m3h.def``."""
    listed = "\n".join(pinned)
    needed = ("m3h_pipeline", *FOLDERS, "pyproject.toml", "setup.py", "README.md", "LICENSE")
    files = "\n".join(f"    {name} /opt/m3h/{name}" for name in needed)
    return f"""Bootstrap: docker
From: python:{PYTHON}-slim

# Written from constraints.txt by `python -m m3h_pipeline.config.environments`.
# In the repository's folder:
#   apptainer build m3h.sif workflow/envs/m3h.def
#   snakemake --cores all --sdm apptainer          (GPUs: --apptainer-args=--nv)

%files
{files}

%post
    cat > /opt/m3h/constraints.txt <<'PINS'
{listed}
PINS
    python -m pip install --no-cache-dir --constraint /opt/m3h/constraints.txt /opt/m3h
    m3h --help > /dev/null

%runscript
    exec m3h "$@"

%test
    python -c "import torch, m3h_pipeline.cli"
"""


def generated() -> dict[Path, str]:
    """File -> text of every generated environment."""
    pinned = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    folder = ROOT / "workflow/envs"
    return {folder / "m3h.yaml": conda(pinned), folder / "m3h.def": apptainer(pinned)}


def main() -> None:
    """Write the generated files."""
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
