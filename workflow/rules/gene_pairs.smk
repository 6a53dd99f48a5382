# Final models -> gene-gene interactions of the tasks that the study asks them of.


if STUDY.interactions:

    rule interactions:
        input:
            plan=lambda wildcards: checkpoints.plan_final.get().output[0],
            selection=RESULTS / "selection.parquet",
            labels=LABELS,
            features=FEATURES,
            split=RESULTS / "split.parquet",
            scores=final_files("scores"),
            models=final_models,
        output:
            pairs=RESULTS / "interactions/{task}/pairs.parquet",
            genes=RESULTS / "interactions/{task}/genes.parquet",
            heads=RESULTS / "interactions/{task}/heads.parquet",
            network=RESULTS / "interactions/{task}/network.graphml",
            sets=(
                [RESULTS / "interactions/{task}/gene_sets.parquet"]
                if STUDY.interactions.gene_sets
                else []
            ),
        log:
            LOGS / "interactions.{task}.log",
        benchmark:
            BENCHMARKS / "interactions.{task}.tsv"
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
                interactions=located_interactions(STUDY).model_dump(mode="json"),
            ),
            cohort=RESULTS / "cohort",
            label_folder=RESULTS / "labels",
            output=lambda wildcards: RESULTS / f"interactions/{wildcards.task}",
            inputs=(
                content_of(interaction_files(STUDY))
                if interaction_files(STUDY)
                else ""
            ),
            code=code_digest("m3h_pipeline.gene_pairs.stage"),
        shell:
            "m3h --log {log} interactions --task {wildcards.task} --settings {params.settings:q}"
            " --cohort {params.cohort} --labels {params.label_folder} --split {input.split}"
            " --selection {input.selection} --scores {input.scores} --models {input.models}"
            " --output {params.output}"

    rule draw_interactions:
        input:
            pairs=RESULTS / "interactions/{task}/pairs.parquet",
            genes=RESULTS / "interactions/{task}/genes.parquet",
            heads=RESULTS / "interactions/{task}/heads.parquet",
            tasks=RESULTS / "labels/tasks.json",
        output:
            data=[
                RESULTS / f"interactions/{{task}}/{name}.csv"
                for name in INTERACTION_FIGURES
            ],
            images=[
                report(
                    RESULTS / f"interactions/{{task}}/{name}.{suffix}",
                    caption="../report/interactions.rst",
                    category="8 Interactions",
                    subcategory="{task}",
                )
                for name in INTERACTION_FIGURES
                for suffix in STUDY.figures.formats
            ],
        log:
            LOGS / "interactions.{task}.draw.log",
        benchmark:
            BENCHMARKS / "interactions.{task}.draw.tsv"
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=settings("figures.formats", "interactions"),
            folder=lambda wildcards: RESULTS / f"interactions/{wildcards.task}",
            code=code_digest("m3h_pipeline.figures.gene_pairs"),
        shell:
            "m3h --log {log} draw-interactions --task {wildcards.task} --settings {params.settings:q}"
            " --tasks {input.tasks} --folder {params.folder}"
