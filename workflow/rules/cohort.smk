# Source files -> cohort.


if KIND == "synthetic":

    rule simulate:
        output:
            directory(RESULTS / "input"),
        log:
            LOGS / "simulate.log",
        benchmark:
            BENCHMARKS / "simulate.tsv"
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=settings("source", "seed"),
            code=code_digest("m3h_pipeline.cohort.synthetic.simulate"),
        shell:
            "m3h --log {log} simulate --settings {params.settings:q} --output {output}"


if EMBEDDED:

    rule embed:
        input:
            lambda wildcards: ancient(SOURCE.embedding_paths(wildcards.source)),
        output:
            RESULTS / "embeddings/{source}.parquet",
        log:
            LOGS / "embed.{source}.log",
        benchmark:
            BENCHMARKS / "embed.{source}.tsv"
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=lambda wildcards, attempt: attempt
            * (4000 + int(1000 * SOURCE.memory_gb)),
            runtime=minutes(720),
        params:
            settings=settings("source", "compute.device"),
            store=RESULTS / "embeddings/store",
            inputs=inputs_digest,
            code=code_digest("m3h_pipeline.cohort.mimic.embeddings"),
        shell:
            "m3h --log {log} embed --settings {params.settings:q} --source {wildcards.source}"
            " --store {params.store} --output {output}"


rule ingest:
    input:
        # Times say nothing about the content of files that people copy around: `inputs` below does.
        source_files if KIND == "synthetic" else ancient(source_files),
        EMBEDDED,
    output:
        samples=RESULTS / "cohort/samples.parquet",
        columns=RESULTS / "cohort/columns.parquet",
        features=FEATURES,
        diagnoses=(
            [RESULTS / "cohort/diagnoses.parquet"] if SOURCE.has_diagnoses else []
        ),
        summary=report(
            RESULTS / "cohort/summary.json",
            caption="../report/cohort.rst",
            category="1 Cohort",
        ),
        quarantine=RESULTS / "cohort/quarantine.tsv",
    log:
        LOGS / "ingest.log",
    benchmark:
        BENCHMARKS / "ingest.tsv"
    conda:
        "../envs/m3h.yaml"
    resources:
        # The tables of MIMIC-IV are read in pieces: memory follows from what the database may take.
        mem_mb=(
            by_input(1500 + int(1000 * SOURCE.memory_gb), 0)
            if KIND == "mimic"
            else by_input(3000, 2)
        ),
        runtime=minutes(60),
    params:
        settings=settings("source"),
        sources=SOURCES,
        embeddings=f"--embeddings {RESULTS}/embeddings" if EMBEDDED else "",
        simulated=f"--simulated {RESULTS}/input" if KIND == "synthetic" else "",
        output=RESULTS / "cohort",
        inputs=inputs_digest,
        code=code_of(KIND),
    shell:
        "m3h --log {log} ingest --settings {params.settings:q} --sources {params.sources}"
        " {params.simulated} {params.embeddings} --output {params.output}"
