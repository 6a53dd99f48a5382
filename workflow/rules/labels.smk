# Cohort -> labels, split, which tasks can be evaluated, and how alike the parts are.


rule label:
    input:
        FILES.cohort.samples,
        lambda wildcards: outputs.label_input(FILES, TASKS[wildcards.task]),
    output:
        labels=FILES.labels.labels_of("{task}"),
        audit=FILES.labels.audit_of("{task}"),
    log:
        FILES.log("label/{task}"),
    benchmark:
        FILES.benchmark("label/{task}")
    conda:
        "../envs/m3h.yaml"
    params:
        settings=told("label", "task"),
        permute=lambda wildcards: (
            ["--permute"] if wildcards.task in STUDY.tasks.permute else []
        ),
        cohort=FILES.cohort.folder,
        code=code_of("label"),
    shell:
        "m3h --log {log:q} label --task {wildcards.task:q} --settings @{params.settings:q} {params.permute:q}"
        " --cohort {params.cohort:q} --output {output.labels:q} --audit {output.audit:q}"


rule split:
    input:
        samples=FILES.cohort.samples,
        labels=outputs.labels(FILES, STUDY.split.stratify_by),
        every=LABELS if STUDY.split.candidates > 1 else [],
    output:
        FILES.split,
    log:
        FILES.log("split"),
    benchmark:
        FILES.benchmark("split")
    conda:
        "../envs/m3h.yaml"
    params:
        settings=told("split"),
        every=listed("split", "every"),
        code=code_of("split"),
    shell:
        "m3h --log {log:q} split --settings @{params.settings:q} --samples {input.samples:q}"
        " --labels {input.labels:q} --every @{params.every:q} --output {output:q}"


rule assess:
    input:
        samples=FILES.cohort.samples,
        split=FILES.split,
        labels=LABELS,
        audits=[FILES.labels.audit_of(task) for task in TASKS],
    output:
        tasks=FILES.labels.tasks,
        audit=FILES.labels.audit,
        values=report(
            FILES.labels.values,
            caption="../report/values.rst",
            category="2 Tasks",
            labels={"table": "What each value of a column became"},
        ),
        prevalence=report(
            FILES.labels.prevalence,
            caption="../report/prevalence.rst",
            category="2 Tasks",
            labels={"table": "How frequent each outcome is"},
        ),
    log:
        FILES.log("assess"),
    benchmark:
        FILES.benchmark("assess")
    conda:
        "../envs/m3h.yaml"
    params:
        settings=told("assess"),
        labels=listed("assess", "labels"),
        output=FILES.labels.folder,
        code=code_of("assess"),
    shell:
        "m3h --log {log:q} assess --settings @{params.settings:q} --split {input.split:q}"
        " --samples {input.samples:q} --labels @{params.labels:q} --output {params.output:q}"


rule participants:
    input:
        samples=FILES.cohort.samples,
        summary=FILES.cohort.summary,
        features=FEATURES,
        split=FILES.split,
        tasks=FILES.labels.tasks,
        labels=LABELS,
    output:
        FILES.evaluation.flow,
        FILES.evaluation.participants,
        report(
            FILES.evaluation.participants_summary,
            caption="../report/participants.rst",
            category="1 Cohort",
            labels={"table": "Who took part (Table 1)"},
        ),
    log:
        FILES.log("evaluation/participants"),
    benchmark:
        FILES.benchmark("evaluation/participants")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(1500, 3),
    params:
        cohort=FILES.cohort.folder,
        label_folder=FILES.labels.folder,
        output=FILES.evaluation.folder,
        code=code_of("participants"),
    shell:
        "m3h --log {log:q} participants --cohort {params.cohort:q} --labels {params.label_folder:q}"
        " --split {input.split:q} --output {params.output:q}"
