# Cohort -> labels, split, and which tasks can be evaluated.


rule label:
    input:
        RESULTS / "cohort/samples.parquet",
        label_inputs,
    output:
        labels=RESULTS / "labels/{task}.parquet",
        audit=RESULTS / "labels/{task}.audit.tsv",
    log:
        LOGS / "label/{task}.log",
    benchmark:
        BENCHMARKS / "label/{task}.tsv"
    conda:
        "../envs/m3h.yaml"
    params:
        settings=lambda wildcards: settings(
            *(["seed"] if wildcards.task in STUDY.tasks.permute else []),
            definition=TASKS[wildcards.task].model_dump(
                mode="json", exclude_none=True
            ),
        ),
        permute=lambda wildcards: (
            "--permute" if wildcards.task in STUDY.tasks.permute else ""
        ),
        cohort=RESULTS / "cohort",
        code=code_digest("m3h_pipeline.tasks.labels"),
    shell:
        "m3h --log {log} label --task {wildcards.task} --settings {params.settings:q} {params.permute}"
        " --cohort {params.cohort} --output {output.labels} --audit {output.audit}"


rule split:
    input:
        samples=RESULTS / "cohort/samples.parquet",
        labels=[RESULTS / f"labels/{task}.parquet" for task in STUDY.split.stratify_by],
    output:
        RESULTS / "split.parquet",
    log:
        LOGS / "split.log",
    benchmark:
        BENCHMARKS / "split.tsv"
    conda:
        "../envs/m3h.yaml"
    params:
        settings=settings("split"),
        code=code_digest("m3h_pipeline.split"),
    shell:
        "m3h --log {log} split --settings {params.settings:q} --samples {input.samples}"
        " --labels {input.labels} --output {output}"


rule assess:
    input:
        samples=RESULTS / "cohort/samples.parquet",
        split=RESULTS / "split.parquet",
        labels=LABELS,
        audits=[RESULTS / f"labels/{task}.audit.tsv" for task in TASKS],
    output:
        tasks=RESULTS / "labels/tasks.json",
        audit=report(
            RESULTS / "labels/audit.tsv",
            caption="../report/audit.rst",
            category="2 Tasks",
        ),
        prevalence=report(
            RESULTS / "labels/prevalence.tsv",
            caption="../report/prevalence.rst",
            category="2 Tasks",
        ),
    log:
        LOGS / "assess.log",
    benchmark:
        BENCHMARKS / "assess.tsv"
    conda:
        "../envs/m3h.yaml"
    params:
        settings=settings("tasks.min_per_fold", "tasks.unevaluable"),
        output=RESULTS / "labels",
        code=code_digest("m3h_pipeline.tasks.assess"),
    shell:
        "m3h --log {log} assess --settings {params.settings:q} --split {input.split}"
        " --samples {input.samples} --labels {input.labels} --output {params.output}"
