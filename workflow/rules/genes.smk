# Networks and files -> the vectors that a transformer's genes start from.


if GENES:

    rule embed_genes:
        input:
            features=lambda wildcards: [
                RESULTS / f"cohort/features/{source}.parquet"
                for source in STUDY.modalities[wildcards.modality].sources
            ],
            split=RESULTS / "split.parquet",
            files=lambda wildcards: ancient(gene_files(STUDY, [wildcards.modality])),
        output:
            RESULTS / "genes/{modality}.parquet",
        log:
            LOGS / "genes.{modality}.log",
        benchmark:
            BENCHMARKS / "genes.{modality}.tsv"
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=by_input(3000, 4),
            runtime=minutes(120),
        params:
            settings=lambda wildcards: settings(
                "seed",
                modality=located_modality(STUDY, wildcards.modality).model_dump(
                    mode="json"
                ),
            ),
            cohort=RESULTS / "cohort",
            inputs=lambda wildcards: content_of(gene_files(STUDY, [wildcards.modality])),
            code=code_digest("m3h_pipeline.genes.vectors"),
        shell:
            "m3h --log {log} embed-genes --settings {params.settings:q} --cohort {params.cohort}"
            " --split {input.split} --output {output}"
