# What the study was made from and with, and the digest of all that came out: last of all.


rule record:
    input:
        rules.figures.input,
        GENE_PAIRS,
        NETWORK_COMPARISON,
        RESULTS / "selection.parquet",
        RESULTS / "selection.tsv",
        RESULTS / "evaluation/summary.tsv",
        RESULTS / "labels/audit.tsv",
    output:
        RESULTS / "provenance.json",
    log:
        LOGS / "record.log",
    benchmark:
        BENCHMARKS / "record.tsv"
    conda:
        "../envs/m3h.yaml"
    params:
        settings=lambda wildcards: json.dumps(
            {
                "study": STUDY.model_dump(mode="json"),
                "inputs": input_hashes(),
                "definitions": {
                    name: digest_of(task.model_dump(mode="json", exclude_none=True))
                    for name, task in TASKS.items()
                },
            },
            sort_keys=True,
        ),
        study=RESULTS,
        code=[code_digest("m3h_pipeline.record"), *code_of_stages().values()],
    shell:
        "m3h --log {log} record --settings {params.settings:q} --study {params.study} --output {output}"
