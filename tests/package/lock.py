"""Locks: every package that the core installs, by version and by digest. ``make lock`` writes both.

``locks/gpu.txt`` is what the public index has for Linux: PyTorch with what drives NVIDIA's cards.
``locks/cpu.txt`` is the same without PyTorch and what only cards need. PyTorch's build for processors is on
an index of PyTorch's own, and a digest that was not read there would be no promise: the head of the file says
by which line that exact version is installed.
"""

from __future__ import annotations

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
# Every package here is locked by its version and by the digests that the public index has of it.
{more}# Written by `make lock`; docs/install.md says how it is used.
"""
_TORCH_FIRST = """# PyTorch's build for processors is on an index of its own: its version is locked,
# its digest is not. Install it first:
#   {command}
"""
#: Where PyTorch keeps its build for processors.
INDEX = "https://download.pytorch.org/whl/cpu"


def pins(text: str) -> dict[str, str]:
    """Package -> version of a lock or of constraints; names in one spelling, versions without their build.

    Examples:
        >>> pins("PyYAML==6.0.3\\ntorch==2.13.0+cpu \\\\\\n    --hash=sha256:00\\n")
        {'pyyaml': '6.0.3', 'torch': '2.13.0'}
    """
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s+]+)", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def for_cards() -> str:
    """The text of the lock for cards, resolved anew: from pyproject.toml, within constraints.txt."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--generate-hashes"),
            *("--constraint", "constraints.txt", "--python-version", PYTHON),
            *("--python-platform", "x86_64-manylinux_2_28", "--no-annotate", "--no-header"),
            *("--no-emit-index-url", "--no-emit-find-links"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return _HEAD.format(python=PYTHON, said="with PyTorch for NVIDIA's cards", more="") + done.stdout


def for_processors(cards: str) -> str:
    """The text of the lock for processors.

    Args:
        cards: of that for cards.

    Examples:
        >>> text = "# head\\ntorch==2.13.0 x\\n    --hash=a\\nyte==1.9.4 x\\n    --hash=b\\n"
        >>> for_processors(text).splitlines()[-2:]
        ['yte==1.9.4 x', '    --hash=b']
    """
    blocks = re.finditer(r"^(?!#)(\S+?)==.*\n(?: .*\n)*", cards, flags=re.MULTILINE)
    kept = [one[0] for one in blocks if one[1] != "torch" and not OF_CARDS.match(one[1])]
    more = _TORCH_FIRST.format(command=torch_command(pins(cards)["torch"]))
    return _HEAD.format(python=PYTHON, said="for processors, but for PyTorch", more=more) + "".join(kept)


def torch_command(version: str) -> str:
    """What installs PyTorch's build for processors."""
    return f"pip install --no-deps --index-url {INDEX} torch=={version}+cpu"


def main() -> None:
    """Write both locks."""
    folder = ROOT / "locks"
    folder.mkdir(exist_ok=True)
    cards = for_cards()
    (folder / "gpu.txt").write_text(cards, encoding="utf-8")
    (folder / "cpu.txt").write_text(for_processors(cards), encoding="utf-8")


if __name__ == "__main__":
    main()
