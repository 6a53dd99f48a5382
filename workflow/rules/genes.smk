# Networks and files -> the vectors that a transformer's genes start from.


if GENES:

    rule embed_genes:
        input:
            features=lambda wildcards: [
                FILES.cohort.features(source)
                for source in STUDY.modalities[wildcards.modality].sources
            ],
            split=FILES.split,
            files=lambda wildcards: given(gene_files(STUDY, [wildcards.modality])),
        output:
            FILES.gene_vectors("{modality}"),
        log:
            FILES.log("genes.{modality}"),
        benchmark:
            FILES.benchmark("genes.{modality}")
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=by_input(3000, 4),
            runtime=growing(120),
        params:
            settings=told("embed_genes", "modality"),
            cohort=FILES.cohort.folder,
            inputs=lambda wildcards: content_of(gene_files(STUDY, [wildcards.modality])),
            code=code_of("embed-genes"),
        shell:
            "m3h --log {log:q} embed-genes --settings @{params.settings:q} --cohort {params.cohort:q}"
            " --split {input.split:q} --output {output:q}"
