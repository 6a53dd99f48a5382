"""The workflow that comes with the package, run by Snakemake in the folder one stands in."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.shipped import INSIDE, located, shipped

#: Options of Snakemake after which it knows, or need not know, how many cores there are.
_CORES = ("--cores", "-c", "--jobs", "-j", "--profile", "--executor", "-e")
_DEPLOYMENT = ("--sdm", "--software-deployment-method", "--deployment-method", "--deployment", "--use-conda")


def command(config: str | None, options: Sequence[str] = ()) -> list[str]:
    """The call of Snakemake that runs a study.

    Args:
        config: the study's configuration; of one that ships, its name in a clone will do. None: that of the
            folder, ``config/config.yaml``, or the default study's.
        options: of Snakemake, passed on. A profile that ships (``slurm``) goes by its name, and where
            nothing says how many cores may be used, all are.

    Raises:
        InputError: there is no such configuration.
        ConfigError: an option needs a clone.

    Examples:
        >>> command(None, ["-n"])[-3:], command("config/config.yaml", ["--cores", "2"])[-2:]
        (['--cores', 'all', '-n'], ['--cores', '2'])
    """
    _no_conda(options)
    found = [sys.executable, "-m", "snakemake"]
    if config is not None:
        path = located(config)
        if not Path(path).is_file():
            raise InputError(
                "there is no such configuration",
                where=config,
                hint="name the study's YAML file: `m3h run my_study.yaml --cores 4`",
            )
        found += ["--configfile", path]
    # After `--configfile`, which takes as many files as follow it.
    found += ["--snakefile", str(shipped("workflow/Snakefile"))]
    if not any(_is_option(word, _CORES) for word in options):
        found += ["--cores", "all"]
    return [*found, *_with_profiles(options)]


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that the call needs: jobs find this installation's programs, whatever is activated."""
    programs = sysconfig.get_path("scripts")
    return {**given, "PATH": os.pathsep.join(filter(None, [programs, given.get("PATH")]))}


def _with_profiles(options: Sequence[str]) -> Iterator[str]:
    """The options, with the names of profiles that ship as their folders."""
    after = False
    for word in options:
        name = word.removeprefix("--profile=")
        if after or name != word:
            folder = shipped(f"workflow/profiles/{name}")
            if name.isidentifier() and folder.is_dir() and not any(Path(name).glob("config*.yaml")):
                yield str(folder) if word == name else f"--profile={folder}"
                after = False
                continue
        after = word == "--profile"
        yield word


def _is_option(word: str, names: Sequence[str]) -> bool:
    """Whether a word is one of some options, with or without its value."""
    return any(
        word == name or word.startswith(f"{name}=" if name.startswith("--") else name)
        for name in names
        if name.startswith("--") == word.startswith("--")
    )


def _no_conda(options: Sequence[str]) -> None:
    """Environments of conda are made from a clone: the list of their packages ends with its folder."""
    asked = any(_is_option(word, _DEPLOYMENT) for word in options)
    conda = any("conda" in word for word in options)
    if asked and conda and shipped("").name == INSIDE:
        raise ConfigError(
            "conda's environment is made from a clone of the project, not from an installed package",
            where=" ".join(options),
            hint="leave it out (the packages are installed), or run `snakemake --sdm conda` in a clone",
        )
