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
        settings=lambda wildcards: SETTINGS.label(wildcards.task),
        permute=lambda wildcards: (
            "--permute" if wildcards.task in STUDY.tasks.permute else ""
        ),
        cohort=FILES.cohort.folder,
        code=code_of("label"),
    shell:
        "m3h --log {log} label --task {wildcards.task} --settings {params.settings:q} {params.permute}"
        " --cohort {params.cohort} --output {output.labels} --audit {output.audit}"


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
        settings=SETTINGS.split(),
        code=code_of("split"),
    shell:
        "m3h --log {log} split --settings {params.settings:q} --samples {input.samples}"
        " --labels {input.labels} --output {output}"


rule assess:
    input:
        samples=FILES.cohort.samples,
        split=FILES.split,
        labels=LABELS,
        audits=[FILES.labels.audit_of(task) for task in TASKS],
    output:
        tasks=FILES.labels.tasks,
        audit=report(
            FILES.labels.audit,
            caption="../report/audit.rst",
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
        settings=SETTINGS.assess(),
        output=FILES.labels.folder,
        code=code_of("assess"),
    shell:
        "m3h --log {log} assess --settings {params.settings:q} --split {input.split}"
        " --samples {input.samples} --labels {input.labels} --output {params.output}"
