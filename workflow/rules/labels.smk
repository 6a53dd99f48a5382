# Cohort -> labels, split, and which tasks can be evaluated.


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
        code=code_of("split"),
    shell:
        "m3h --log {log:q} split --settings @{params.settings:q} --samples {input.samples:q}"
        " --labels {input.labels:q} --output {output:q}"


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
        ),
        prevalence=report(
            FILES.labels.prevalence,
            caption="../report/prevalence.rst",
            category="2 Tasks",
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
