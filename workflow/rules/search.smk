# Rounds of the greedy search: each is planned from the scores of those before it, trained in packs, and the
# search ends with the first round that has nothing left to train. From the third on a round is an instalment of
# a race: some folds of the combinations of one size that have not fallen behind.
checkpoint plan_round:
    input:
        tasks=FILES.labels.tasks,
        summary=FILES.cohort.summary,
        scores=lambda wildcards: [
            FILES.round(r).scores for r in range(1, int(wildcards.round))
        ],
    output:
        FILES.round("{round}").plan,
    log:
        FILES.log("search/plan_round_{round}"),
    benchmark:
        FILES.benchmark("search/plan_round_{round}")
    # Rounds wait for each other. What nothing waits for goes where they leave cores idle.
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        settings=told("plan_round", "round"),
        code=code_of("plan-round"),
    shell:
        "m3h --log {log:q} plan-round --round {wildcards.round:q} --settings @{params.settings:q}"
        " --tasks {input.tasks:q} --summary {input.summary:q} --scores {input.scores:q} --output {output:q}"


rule train_pack:
    input:
        **pack_inputs(lambda wildcards: wildcards.stage),
    output:
        scores=FILES.stage("{stage}").of_pack("{pack}", "scores"),
        predictions=FILES.stage("{stage}").of_pack("{pack}", "predictions"),
    log:
        FILES.log("{stage}/pack_{pack}"),
    benchmark:
        FILES.benchmark("{stage}/pack_{pack}")
    priority: 1
    conda:
        "../envs/m3h.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=TRAINING.memory_mb(),
        runtime=TRAINING.runtime(),
    params:
        **TRAINED_WITH,
        settings=told("train"),
        kept=[],
    shell:
        "m3h --log {log:q} train-pack --pack {wildcards.pack:q} --settings @{params.settings:q}"
        " --plan {input.plan:q} --cohort {params.cohort:q} --labels {params.label_folder:q} --split {input.split:q}"
        " --store {params.store:q} --scores {output.scores:q} --predictions {output.predictions:q}"
        " {params.genes:q} {params.kept:q}"


rule merge_scores:
    input:
        scores=lambda wildcards: plans.pack_files(
            planned(f"search/round_{wildcards.round}"), "scores"
        ),
    output:
        FILES.round("{round}").scores,
    log:
        FILES.log("search/merge_round_{round}"),
    benchmark:
        FILES.benchmark("search/merge_round_{round}")
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        scores=listed("merge_scores", "scores", "round"),
        code=code_of("merge-scores"),
    shell:
        "m3h --log {log:q} merge-scores --scores @{params.scores:q} --output {output:q}"


rule select:
    input:
        tasks=FILES.labels.tasks,
        plans=round_plans,
        scores=round_scores,
    output:
        selection=FILES.selection,
        trajectory=FILES.trajectory,
        report=FILES.search_report,
        summary=report(
            FILES.selection_summary,
            caption="../report/selection.rst",
            category="4 Selection",
            labels={"table": "The companions of each task"},
        ),
    log:
        FILES.log("select"),
    benchmark:
        FILES.benchmark("select")
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        settings=told("select"),
        code=code_of("select"),
    shell:
        "m3h --log {log:q} select --settings @{params.settings:q} --tasks {input.tasks:q}"
        " --scores {input.scores:q} --output {output.selection:q} --trajectory {output.trajectory:q}"
        " --report {output.report:q} --summary {output.summary:q}"
