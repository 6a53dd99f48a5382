# Task interaction: what the search has trained, and what it has not.


checkpoint plan_tim:
    input:
        tasks=FILES.labels.tasks,
        summary=FILES.cohort.summary,
        plans=round_plans,
        scores=round_scores,
    output:
        FILES.tim.plan,
    log:
        FILES.log("tim/plan"),
    benchmark:
        FILES.benchmark("tim/plan")
    conda:
        "../envs/m3h.yaml"
    params:
        settings=told("plan_tim"),
        code=code_of("plan-tim"),
    shell:
        "m3h --log {log:q} plan-tim --settings @{params.settings:q} --tasks {input.tasks:q} --summary {input.summary:q}"
        " --scores {input.scores:q} --output {output:q}"


rule tim:
    input:
        tasks=FILES.labels.tasks,
        labels=LABELS,
        split=FILES.split,
        samples=FILES.cohort.samples,
        plan=lambda wildcards: planned("search/tim").plan,
        # Of the search and of the packs that TIM adds.
        scores=lambda wildcards: [
            *round_scores(wildcards),
            *plans.pack_files(planned("search/tim"), "scores"),
        ],
        predictions=lambda wildcards: [
            *round_predictions(wildcards),
            *plans.pack_files(planned("search/tim"), "predictions"),
        ],
    output:
        FILES.tim_table,
    log:
        FILES.log("tim/tim"),
    benchmark:
        FILES.benchmark("tim/tim")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=growing(120),
    params:
        settings=told("tim"),
        scores=listed("tim", "scores"),
        predictions=listed("tim", "predictions"),
        label_folder=FILES.labels.folder,
        code=code_of("tim"),
    shell:
        "m3h --log {log:q} tim --settings @{params.settings:q} --tasks {input.tasks:q}"
        " --labels {params.label_folder:q} --split {input.split:q} --samples {input.samples:q}"
        " --scores @{params.scores:q} --predictions @{params.predictions:q} --output {output:q}"
