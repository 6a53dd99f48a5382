# What jobs are told beside their inputs: settings and long lists, in files, and what is in the user's files.
from functools import cache, partial

from m3h_pipeline.jobs.code import keep_code
from m3h_pipeline.jobs.inputs import Inputs
from m3h_pipeline.jobs.running import Running
from m3h_pipeline.jobs.told import Told

INPUTS = Inputs(STUDY, FILES.input_digests)
RUNNING = Running(FILES.running)
CODE_KEPT = cache(partial(keep_code, FILES.code))
# Told before a plan is made; the claim itself waits until it is known that jobs run.
if workflow.is_main_process and not workflow.output_settings.dryrun:
    explained(RUNNING.look)


def runs():
    """Whether jobs will run, and are not only listed. The first one then claims the results for this process."""
    if workflow.executor_plugin is None or workflow.dryrun:
        return False
    if workflow.is_main_process:
        explained(RUNNING.begin)
        explained(CODE_KEPT)
    return True


TOLD = Told(FILES.settings, SETTINGS, runs)


def told(job, *of):
    """What a job is told, in a file; ``of``: the wildcards that decide it."""
    return lambda wildcards: explained(
        TOLD.settings, job, *(wildcards[name] for name in of)
    )


def listed(job, kind, *of):
    """Inputs of one kind, in a file: they may be thousands."""
    return lambda wildcards, input: explained(
        TOLD.files,
        ".".join([job, kind, *(wildcards[name] for name in of)]),
        input.get(kind),
    )


def given(paths):
    """Files of the user, whose times say nothing: ``content_of`` does. Braces would be wildcards to Snakemake."""
    return ancient([path for path in map(str, paths) if "{" not in path])


def content_of(paths):
    """What is in input files, whatever their times say."""
    return explained(INPUTS.content_of, paths)
