"""``python -m tests.slurm.check``: say what the SLURM tests lack on this machine, and fail if anything."""

from __future__ import annotations

import sys

from tests.slurm.cluster import missing

if __name__ == "__main__":
    sys.exit(missing())
