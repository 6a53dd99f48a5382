# Final models -> gene-gene interactions of the tasks that the study asks them of.


if STUDY.gene_pairs:

    rule gene_pairs:
        input:
            plan=lambda wildcards: planned("search/final").plan,
            selection=FILES.selection,
            labels=LABELS,
            features=FEATURES,
            split=FILES.split,
            scores=pack_files("scores", "search/final"),
            # Scores come from the same jobs; of a folder Snakemake knows the time alone.
            models=lambda wildcards: ancient(
                plans.pack_models(FILES, planned("search/final"))
            ),
        output:
            outputs.gene_pair_tables(FILES, STUDY, "{task}"),
        log:
            FILES.log("gene_pairs.{task}"),
        benchmark:
            FILES.benchmark("gene_pairs.{task}")
        priority: 1
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=by_input(6000, 4),
            runtime=growing(240),
        params:
            settings=told("gene_pairs"),
            scores=listed("gene_pairs", "scores"),
            models=listed("gene_pairs", "models"),
            cohort=FILES.cohort.folder,
            label_folder=FILES.labels.folder,
            output=lambda wildcards: FILES.gene_pairs(wildcards.task).folder,
            inputs=lambda wildcards: content_of(gene_pair_files(STUDY)),
            ledger=FILES.ledger,
            code=code_of("gene-pairs"),
        shell:
            "m3h --log {log:q} gene-pairs --task {wildcards.task:q} --settings @{params.settings:q}"
            " --cohort {params.cohort:q} --labels {params.label_folder:q} --split {input.split:q}"
            " --selection {input.selection:q} --scores @{params.scores:q} --models @{params.models:q}"
            " --ledger {params.ledger:q} --output {params.output:q}"

    rule draw_gene_pairs:
        input:
            pairs=FILES.gene_pairs("{task}").pairs,
            genes=FILES.gene_pairs("{task}").genes,
            heads=FILES.gene_pairs("{task}").heads,
            tasks=FILES.labels.tasks,
        output:
            data=[
                FILES.gene_pairs("{task}").figure(name, "csv")
                for name in GENE_PAIR_FIGURES
            ],
            images=[
                (
                    report(
                        FILES.gene_pairs("{task}").figure(name, suffix),
                        caption="../report/gene_pairs.rst",
                        category="8 Gene pairs",
                        subcategory="{task}",
                        labels={"figure": name.replace("_", " ")},
                    )
                    if suffix == STUDY.figures.formats[0]
                    else FILES.gene_pairs("{task}").figure(name, suffix)
                )
                for name in GENE_PAIR_FIGURES
                for suffix in STUDY.figures.formats
            ],
        log:
            FILES.log("gene_pairs.{task}.draw"),
        benchmark:
            FILES.benchmark("gene_pairs.{task}.draw")
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=told("draw_gene_pairs"),
            folder=lambda wildcards: FILES.gene_pairs(wildcards.task).folder,
            code=code_of("draw-gene-pairs"),
        shell:
            "m3h --log {log:q} draw-gene-pairs --task {wildcards.task:q} --settings @{params.settings:q}"
            " --tasks {input.tasks:q} --folder {params.folder:q}"
