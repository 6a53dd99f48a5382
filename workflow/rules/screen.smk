# What the screen shows of the study as a whole: a line from time to time, and at the end its answer.
from snakemake.settings.types import Quietness

from m3h_pipeline.status.screen import Screen

SCREEN = Screen(
    FILES,
    STUDY,
    sys.stderr,
    quiet=bool(
        {Quietness.ALL, Quietness.PROGRESS} & set(workflow.output_settings.quiet or [])
    ),
)


onstart:
    SCREEN.begin()


onsuccess:
    SCREEN.end(finished=True)


onerror:
    SCREEN.end(finished=False)
