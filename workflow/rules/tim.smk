# Task interaction: what the search has trained, and what it has not.


checkpoint plan_tim:
    input:
        tasks=RESULTS / "labels/tasks.json",
        scores=round_scores,
    output:
        RESULTS / "tim/plan.json",
    log:
        LOGS / "tim/plan.log",
    benchmark:
        BENCHMARKS / "tim/plan.tsv"
    params:
        settings=settings("search", "tim", "training", "split", "seed"),
        code=code_digest("m3h_pipeline.tim.plan"),
    shell:
        "m3h --log {log} plan-tim --settings {params.settings:q} --tasks {input.tasks}"
        " --scores {input.scores} --output {output}"


def tim_files(kind):
    """Scores or predictions of the search and of the packs TIM adds."""

    def files(wildcards):
        added = pack_files(checkpoints.plan_tim.get().output[0], kind)
        return (round_scores if kind == "scores" else round_predictions)(
            wildcards
        ) + added

    return files


rule tim:
    input:
        tasks=RESULTS / "labels/tasks.json",
        labels=LABELS,
        split=RESULTS / "split.parquet",
        samples=RESULTS / "cohort/samples.parquet",
        scores=tim_files("scores"),
        predictions=tim_files("predictions"),
    output:
        RESULTS / "tim/tim.parquet",
    log:
        LOGS / "tim/tim.log",
    benchmark:
        BENCHMARKS / "tim/tim.tsv"
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
    params:
        settings=settings("tim", "seed"),
        label_folder=RESULTS / "labels",
        code=code_digest("m3h_pipeline.tim.estimate"),
    shell:
        "m3h --log {log} tim --settings {params.settings:q} --tasks {input.tasks}"
        " --labels {params.label_folder} --split {input.split} --samples {input.samples}"
        " --scores {input.scores} --predictions {input.predictions} --output {output}"
