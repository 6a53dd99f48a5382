"""What pyproject.toml cannot say: a wheel carries workflow, task definitions and configurations.

They stand beside the package in a clone, where `snakemake` and its profiles are looked for;
m3h_pipeline/shipped/ finds them in either place, and says which they are.
"""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
SHIPPED = runpy.run_path(str(HERE / "m3h_pipeline" / "shipped" / "__init__.py"))


class Build(build_py):
    """Modules and data of the package, then what ships with it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        inside = Path(self.build_lib) / "m3h_pipeline" / SHIPPED["INSIDE"]
        shutil.rmtree(inside, ignore_errors=True)
        for folder in SHIPPED["FOLDERS"]:
            shutil.copytree(HERE / folder, inside / folder, ignore=_left_out)


def _left_out(folder: str, names: list[str]) -> set[str]:
    """A site's own settings, and what programs leave behind."""
    return {name for name in names if name in {"site.yaml", "__pycache__"} or name.startswith(".")}


setup(cmdclass={"build_py": Build})
