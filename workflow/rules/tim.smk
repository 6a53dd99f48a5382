# Task interaction: what the search has trained, and what it has not.


checkpoint plan_tim:
    input:
        tasks=RESULTS / "labels/tasks.json",
        summary=RESULTS / "cohort/summary.json",
        plans=round_plans,
        scores=round_scores,
    output:
        RESULTS / "tim/plan.json",
    log:
        LOGS / "tim/plan.log",
    benchmark:
        BENCHMARKS / "tim/plan.tsv"
    conda:
        "../envs/m3h.yaml"
    params:
        settings=settings(
            "search.combinations_per_job",
            "tim.mode",
            "tim.replicates",
            "tim.chains",
            "tim.max_size",
            "training.batch_sizes",
            "training.learning_rates",
            "split.folds",
            "seed",
            **SIZED,
        ),
        code=code_digest("m3h_pipeline.tim.plan"),
    shell:
        "m3h --log {log} plan-tim --settings {params.settings:q} --tasks {input.tasks} --summary {input.summary}"
        " --scores {input.scores} --output {output}"


rule tim:
    input:
        tasks=RESULTS / "labels/tasks.json",
        labels=LABELS,
        split=RESULTS / "split.parquet",
        samples=RESULTS / "cohort/samples.parquet",
        plan=lambda wildcards: checkpoints.plan_tim.get().output[0],
        scores=tim_files("scores"),
        predictions=tim_files("predictions"),
    output:
        RESULTS / "tim/tim.parquet",
    log:
        LOGS / "tim/tim.log",
    benchmark:
        BENCHMARKS / "tim/tim.tsv"
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=minutes(120),
    params:
        settings=settings("tim", "seed"),
        label_folder=RESULTS / "labels",
        code=code_digest("m3h_pipeline.tim.estimate"),
    shell:
        "m3h --log {log} tim --settings {params.settings:q} --tasks {input.tasks}"
        " --labels {params.label_folder} --split {input.split} --samples {input.samples}"
        " --scores {input.scores} --predictions {input.predictions} --output {output}"
