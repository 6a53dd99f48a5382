# Final models -> gene-gene interactions of the tasks that the study asks them of.


if STUDY.gene_pairs:

    rule gene_pairs:
        input:
            plan=lambda wildcards: checkpoints.plan_final.get().output[0],
            selection=RESULTS / "selection.parquet",
            labels=LABELS,
            features=FEATURES,
            split=RESULTS / "split.parquet",
            scores=final_files("scores"),
            models=final_models,
        output:
            pairs=RESULTS / "gene_pairs/{task}/pairs.parquet",
            genes=RESULTS / "gene_pairs/{task}/genes.parquet",
            heads=RESULTS / "gene_pairs/{task}/heads.parquet",
            network=RESULTS / "gene_pairs/{task}/network.graphml",
            sets=(
                [RESULTS / "gene_pairs/{task}/gene_sets.parquet"]
                if STUDY.gene_pairs.gene_sets
                else []
            ),
        log:
            LOGS / "gene_pairs.{task}.log",
        benchmark:
            BENCHMARKS / "gene_pairs.{task}.tsv"
        priority: 1
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=by_input(6000, 4),
            runtime=minutes(240),
        params:
            settings=settings(
                "modalities",
                "seed",
                gene_pairs=located_gene_pairs(STUDY).model_dump(mode="json"),
            ),
            cohort=RESULTS / "cohort",
            label_folder=RESULTS / "labels",
            output=lambda wildcards: RESULTS / f"gene_pairs/{wildcards.task}",
            inputs=(
                content_of(gene_pair_files(STUDY)) if gene_pair_files(STUDY) else ""
            ),
            code=code_digest("m3h_pipeline.gene_pairs.stage"),
        shell:
            "m3h --log {log} gene-pairs --task {wildcards.task} --settings {params.settings:q}"
            " --cohort {params.cohort} --labels {params.label_folder} --split {input.split}"
            " --selection {input.selection} --scores {input.scores} --models {input.models}"
            " --output {params.output}"

    rule draw_gene_pairs:
        input:
            pairs=RESULTS / "gene_pairs/{task}/pairs.parquet",
            genes=RESULTS / "gene_pairs/{task}/genes.parquet",
            heads=RESULTS / "gene_pairs/{task}/heads.parquet",
            tasks=RESULTS / "labels/tasks.json",
        output:
            data=[
                RESULTS / f"gene_pairs/{{task}}/{name}.csv"
                for name in GENE_PAIR_FIGURES
            ],
            images=[
                report(
                    RESULTS / f"gene_pairs/{{task}}/{name}.{suffix}",
                    caption="../report/gene_pairs.rst",
                    category="8 Gene pairs",
                    subcategory="{task}",
                )
                for name in GENE_PAIR_FIGURES
                for suffix in STUDY.figures.formats
            ],
        log:
            LOGS / "gene_pairs.{task}.draw.log",
        benchmark:
            BENCHMARKS / "gene_pairs.{task}.draw.tsv"
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=settings("figures.formats", "gene_pairs"),
            folder=lambda wildcards: RESULTS / f"gene_pairs/{wildcards.task}",
            code=code_digest("m3h_pipeline.figures.gene_pairs"),
        shell:
            "m3h --log {log} draw-gene-pairs --task {wildcards.task} --settings {params.settings:q}"
            " --tasks {input.tasks} --folder {params.folder}"
