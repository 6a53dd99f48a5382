# Source files -> cohort.


if SYNTHETIC:

    rule simulate:
        output:
            directory(FILES.input),
        log:
            FILES.log("simulate"),
        benchmark:
            FILES.benchmark("simulate")
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=SETTINGS.simulate(),
            code=code_of("simulate"),
        shell:
            "m3h --log {log} simulate --settings {params.settings:q} --output {output}"


if EMBEDDED:

    rule embed:
        input:
            lambda wildcards: ancient(SOURCE.embedding_paths(wildcards.source)),
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
            settings=SETTINGS.embed(),
            store=FILES.embedding_store,
            inputs=lambda wildcards: content_of(source_paths(STUDY)),
            code=code_of("embed"),
        shell:
            "m3h --log {log} embed --settings {params.settings:q} --source {wildcards.source}"
            " --store {params.store} --output {output}"


rule ingest:
    input:
        # Times say nothing about the content of files that people copy around: `inputs` below does.
        (FILES.input if SYNTHETIC else lambda wildcards: ancient(source_paths(STUDY))),
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
        ),
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
        settings=SETTINGS.ingest(),
        sources=outputs.sources(STUDY),
        embeddings=f"--embeddings {FILES.embeddings}" if EMBEDDED else "",
        simulated=f"--simulated {FILES.input}" if SYNTHETIC else "",
        output=FILES.cohort.folder,
        inputs=lambda wildcards: content_of(source_paths(STUDY)),
        code=code_of_source(SOURCE.kind),
    shell:
        "m3h --log {log} ingest --settings {params.settings:q} --sources {params.sources}"
        " {params.simulated} {params.embeddings} --output {params.output}"
