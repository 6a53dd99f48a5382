# Rounds of the greedy search: each is planned from the scores of those before it, trained in packs, and the
# search ends with the first round that has nothing left to train.
checkpoint plan_round:
    input:
        tasks=RESULTS / "labels/tasks.json",
        summary=RESULTS / "cohort/summary.json",
        scores=lambda wildcards: [
            RESULTS / f"search/round_{r}/scores.parquet"
            for r in range(1, int(wildcards.round))
        ],
    output:
        RESULTS / "search/round_{round}/plan.json",
    log:
        LOGS / "search/plan_round_{round}.log",
    benchmark:
        BENCHMARKS / "search/plan_round_{round}.tsv"
    # Rounds wait for each other. What nothing waits for goes where they leave cores idle.
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        # Single tasks and pairs are trained whatever the search prefers.
        settings=lambda wildcards: settings(
            "search.max_size",
            "search.replicates",
            "search.combinations_per_job",
            *(
                ["search.beam", "search.min_improvement"]
                if int(wildcards.round) > 2
                else []
            ),
            "tim.mode",
            "tim.replicates",
            "training.batch_sizes",
            "training.learning_rates",
            "split.folds",
            **SIZED,
        ),
        code=code_digest("m3h_pipeline.search.plan"),
    shell:
        "m3h --log {log} plan-round --round {wildcards.round} --settings {params.settings:q}"
        " --tasks {input.tasks} --summary {input.summary} --scores {input.scores} --output {output}"


rule train_pack:
    input:
        plan=lambda wildcards: planned(wildcards.stage),
        labels=lambda wildcards: planned(wildcards.stage)
        and pack_labels(wildcards.stage, wildcards.pack),
        features=FEATURES,
        samples=RESULTS / "cohort/samples.parquet",
        split=RESULTS / "split.parquet",
        genes=GENES,
    output:
        scores=RESULTS / "{stage}/packs/{pack}.scores.parquet",
        predictions=RESULTS / "{stage}/packs/{pack}.predictions.parquet",
    log:
        LOGS / "{stage}/pack_{pack}.log",
    benchmark:
        BENCHMARKS / "{stage}/pack_{pack}.tsv"
    priority: 1
    conda:
        "../envs/m3h.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=training_resource(sizing.memory_mb),
        runtime=training_resource(sizing.runtime_minutes),
    params:
        **TRAINING,
        kept="",
    shell:
        "m3h --log {log} train-pack --pack {wildcards.pack} --settings {params.settings:q}"
        " --plan {input.plan} --cohort {params.cohort} --labels {params.label_folder} --split {input.split}"
        " --store {params.store} --scores {output.scores} --predictions {output.predictions}"
        " {params.genes} {params.kept}"


rule merge_scores:
    input:
        lambda wildcards: pack_files(
            checkpoints.plan_round.get(round=wildcards.round).output[0], "scores"
        ),
    output:
        RESULTS / "search/round_{round}/scores.parquet",
    log:
        LOGS / "search/merge_round_{round}.log",
    benchmark:
        BENCHMARKS / "search/merge_round_{round}.tsv"
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        code=code_digest("m3h_pipeline.search.scores"),
    shell:
        "m3h --log {log} merge-scores --scores {input} --output {output}"


rule select:
    input:
        tasks=RESULTS / "labels/tasks.json",
        plans=round_plans,
        scores=round_scores,
    output:
        selection=RESULTS / "selection.parquet",
        trajectory=RESULTS / "search/trajectory.parquet",
        summary=report(
            RESULTS / "selection.tsv",
            caption="../report/selection.rst",
            category="4 Selection",
        ),
    log:
        LOGS / "select.log",
    benchmark:
        BENCHMARKS / "select.tsv"
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        settings=settings("search.beam", "search.max_size", "search.min_improvement"),
        code=code_digest("m3h_pipeline.search.selection"),
    shell:
        "m3h --log {log} select --settings {params.settings:q} --tasks {input.tasks}"
        " --scores {input.scores} --output {output.selection} --trajectory {output.trajectory}"
        " --summary {output.summary}"
