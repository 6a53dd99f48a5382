# Source files -> cohort.
KIND = SOURCE.kind


if KIND == "synthetic":

    rule simulate:
        output:
            directory(RESULTS / "input"),
        log:
            LOGS / "simulate.log",
        benchmark:
            BENCHMARKS / "simulate.tsv"
        params:
            settings=settings("source", "seed"),
            code=code_digest("m3h_pipeline.cohort.synthetic"),
        shell:
            "m3h --log {log} simulate --settings {params.settings:q} --output {output}"


def source_files(wildcards):
    """The files an ingestion reads; those inside Python packages are none of Snakemake's business."""
    if KIND == "synthetic":
        return [RESULTS / "input"]
    if KIND == "haim":
        return [SOURCE.table, SOURCE.key_ids, *([SOURCE.hosp] if SOURCE.hosp else [])]
    return [file.path for file in SOURCE.files if not file.path.startswith("python:")]


rule ingest:
    input:
        source_files,
    output:
        samples=RESULTS / "cohort/samples.parquet",
        columns=RESULTS / "cohort/columns.parquet",
        features=FEATURES,
        diagnoses=(
            [RESULTS / "cohort/diagnoses.parquet"]
            if KIND == "synthetic" or getattr(SOURCE, "hosp", None)
            else []
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
    resources:
        mem_mb=3000,
    params:
        settings=settings("source"),
        sources=SOURCES,
        simulated=f"--simulated {RESULTS}/input" if KIND == "synthetic" else "",
        output=RESULTS / "cohort",
        code=code_digest("m3h_pipeline.cohort.ingest", "m3h_pipeline.cohort.synthetic"),
    shell:
        "m3h --log {log} ingest --settings {params.settings:q} --sources {params.sources}"
        " {params.simulated} --output {params.output}"
