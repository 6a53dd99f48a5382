# Rounds of the greedy search: each is planned from the scores of those before it, trained in packs, and the
# search ends with the first round that has nothing left to train.
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
        settings=lambda wildcards: SETTINGS.plan_round(int(wildcards.round)),
        code=code_of("plan-round"),
    shell:
        "m3h --log {log} plan-round --round {wildcards.round} --settings {params.settings:q}"
        " --tasks {input.tasks} --summary {input.summary} --scores {input.scores} --output {output}"


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
        settings=SETTINGS.train(),
        kept="",
    shell:
        "m3h --log {log} train-pack --pack {wildcards.pack} --settings {params.settings:q}"
        " --plan {input.plan} --cohort {params.cohort} --labels {params.label_folder} --split {input.split}"
        " --store {params.store} --scores {output.scores} --predictions {output.predictions}"
        " {params.genes} {params.kept}"


rule merge_scores:
    input:
        lambda wildcards: plans.pack_files(
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
        code=code_of("merge-scores"),
    shell:
        "m3h --log {log} merge-scores --scores {input} --output {output}"


rule select:
    input:
        tasks=FILES.labels.tasks,
        plans=round_plans,
        scores=round_scores,
    output:
        selection=FILES.selection,
        trajectory=FILES.trajectory,
        summary=report(
            FILES.selection_summary,
            caption="../report/selection.rst",
            category="4 Selection",
        ),
    log:
        FILES.log("select"),
    benchmark:
        FILES.benchmark("select")
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        settings=SETTINGS.select(),
        code=code_of("select"),
    shell:
        "m3h --log {log} select --settings {params.settings:q} --tasks {input.tasks}"
        " --scores {input.scores} --output {output.selection} --trajectory {output.trajectory}"
        " --summary {output.summary}"
