# Source files -> cohort.


if SYNTHETIC:

    rule simulate:
        output:
            SIMULATED,
        log:
            FILES.log("simulate"),
        benchmark:
            FILES.benchmark("simulate")
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=told("simulate"),
            output=FILES.input,
            code=code_of("simulate"),
        shell:
            "m3h --log {log:q} simulate --settings @{params.settings:q} --output {params.output:q}"


if EMBEDDED:

    rule embed:
        input:
            lambda wildcards: given(SOURCE.embedding_paths(wildcards.source)),
        output:
            FILES.embedding("{source}"),
        log:
            FILES.log("embed.{source}"),
        benchmark:
            FILES.benchmark("embed.{source}")
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=growing(4000 + int(1000 * SOURCE.memory_gb)),
            runtime=growing(720),
        params:
            settings=told("embed"),
            store=FILES.embedding_store,
            inputs=lambda wildcards: content_of(source_paths(STUDY)),
            code=code_of("embed"),
        shell:
            "m3h --log {log:q} embed --settings @{params.settings:q} --source {wildcards.source:q}"
            " --store {params.store:q} --output {output:q}"


rule ingest:
    input:
        # Times say nothing about the content of files that people copy around: `inputs` below does.
        SIMULATED if SYNTHETIC else lambda wildcards: given(source_paths(STUDY)),
        EMBEDDED,
    output:
        samples=FILES.cohort.samples,
        columns=FILES.cohort.columns,
        features=FEATURES,
        diagnoses=[FILES.cohort.diagnoses] if SOURCE.has_diagnoses else [],
        summary=report(
            FILES.cohort.summary,
            caption="../report/cohort.rst",
            category="1 Cohort",
            labels={"table": "What was read, and what was set aside"},
        ),
        reading=FILES.cohort.reading,
        quarantine=FILES.cohort.quarantine,
    log:
        FILES.log("ingest"),
    benchmark:
        FILES.benchmark("ingest")
    conda:
        "../envs/m3h.yaml"
    resources:
        # The tables of MIMIC-IV are read in pieces: memory follows from what the database may take.
        mem_mb=(
            growing(1500 + int(1000 * SOURCE.memory_gb))
            if SOURCE.kind == "mimic"
            else by_input(3000, 2)
        ),
        runtime=growing(60),
    params:
        settings=told("ingest"),
        sources=outputs.sources(STUDY),
        embeddings=["--embeddings", FILES.embeddings] if EMBEDDED else [],
        simulated=["--simulated", FILES.input] if SYNTHETIC else [],
        output=FILES.cohort.folder,
        inputs=lambda wildcards: content_of(source_paths(STUDY)),
        code=code_of_source(SOURCE.kind),
    shell:
        "m3h --log {log:q} ingest --settings @{params.settings:q} --sources {params.sources:q}"
        " {params.simulated:q} {params.embeddings:q} --output {params.output:q}"
