"""The latents of clustering tasks that final fits leave behind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import LATENTS
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_table

Float32 = npt.NDArray[np.float32]


def read_latents(
    paths: Sequence[Path], wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Float32]:
    """Latents of the test samples: (fit key, task) -> (n, width).

    Args:
        paths: tables of contracts.LATENTS; none is read where nothing is wanted.
        wanted: fit keys with their tasks.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a fit has no latents.
    """
    left, found = set(wanted), dict[tuple[str, str], Float32]()
    for path in paths if left else ():
        table = read_table(path, LATENTS)
        names = zip(table["fit_key"].to_pylist(), table["task"].to_pylist(), strict=True)
        for row, key in enumerate(names):
            if key in left:
                left.remove(key)
                values = table["latent"][row].values.to_numpy()
                found[key] = values.reshape(-1, table["width"][row].as_py())
    if left:
        raise ContractError(
            f"{len(left)} of {len(wanted)} final fits have no latents",
            hint="give the latents of every pack of final fits",
        )
    return found
