"""Which study is meant by a word of the command line: a configuration, a folder of results, or a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m3h_pipeline.config import Study, load_study, validate
from m3h_pipeline.errors import InputError, M3HError, nearest
from m3h_pipeline.files import read_json
from m3h_pipeline.layout import Layout

_ENDINGS = (".yaml", ".yml", ".json")
#: What results of a study have, however little was done.
_SIGNS = (Layout(Path()).record.name, "cohort", "labels", "search", "logs", "input")


@dataclass(frozen=True)
class Named:
    """A study.

    Attributes:
        layout: its results.
        study: its configuration, where it can be read.
        configfile: the file of the configuration, where one is known.
        doubt: why it cannot be read, or empty.
    """

    layout: Layout
    study: Study | None
    configfile: Path | None = None
    doubt: str = ""


def named(word: str | None, results: Path = Path("results"), configs: Path = Path("config")) -> Named:
    """The study that a word means: `config/x.yaml`, `results/x`, or `x`; None: the only or the default one.

    Raises:
        InputError: there is none.
        ConfigError: a configuration that was named cannot be read.
    """
    if word is None:
        default = configs / "config.yaml"
        if default.exists():
            return _of_config(default)
        found = studies(results)
        if len(found) == 1:
            return _of_results(found[0], configs)
        raise InputError(
            "say which study: there is no config/config.yaml",
            where=", ".join(path.as_posix() for path in found) or str(results),
            hint="give its YAML file or the folder of its results",
        )
    path = Path(word)
    if path.suffix in _ENDINGS:
        return _of_config(path)
    for folder in (path, results / word):
        if is_study(folder):
            return _of_results(folder, configs)
    for ending in _ENDINGS:
        if (configs / f"{word}{ending}").exists():
            return _of_config(configs / f"{word}{ending}")
    known = {one.name for one in studies(results)}
    raise InputError(
        f"there is no study `{word}`",
        where=f"{path}, {results / word}, {configs / word}.yaml",
        hint=nearest(word, known) if known else "give its YAML file, or the folder of its results",
    )


def studies(results: Path) -> list[Path]:
    """Folders of results below a folder."""
    return sorted(path for path in results.glob("*") if is_study(path)) if results.is_dir() else []


def is_study(folder: Path) -> bool:
    """Whether a folder looks like the results of a study."""
    return folder.is_dir() and any((folder / sign).exists() for sign in _SIGNS)


def _of_config(path: Path) -> Named:
    study = load_study(path)
    return Named(Layout(Path(study.results) / study.study), study, path)


def _of_results(folder: Path, configs: Path) -> Named:
    """Results, with the configuration of their record, else of a file that is called like them."""
    layout = Layout(folder)
    doubt = ""
    for path in (layout.record, configs / f"{folder.name}.yaml", configs / "config.yaml"):
        if not path.exists():
            continue
        try:
            if path == layout.record:
                return Named(layout, validate(Study, read_json(path)["configuration"], where=str(path)), None)
            study = load_study(path)
        except (M3HError, KeyError, TypeError) as error:
            doubt = doubt or str(error)
            continue
        if study.study == folder.name:
            return Named(layout, study, path)
    return Named(layout, None, None, doubt)
