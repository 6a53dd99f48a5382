# Networks compared with the study's own one: the same fits of each, and one table of them all.


if NETWORKS:

    checkpoint plan_variant:
        input:
            tasks=RESULTS / "labels/tasks.json",
            summary=RESULTS / "cohort/summary.json",
        output:
            RESULTS / "variants/{network}/plan.json",
        log:
            LOGS / "variants/{network}/plan.log",
        benchmark:
            BENCHMARKS / "variants/{network}/plan.tsv"
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=lambda wildcards: settings(
                "variants.replicates",
                "variants.alone",
                "search.combinations_per_job",
                "training.batch_sizes",
                "training.learning_rates",
                "split.folds",
                of=NETWORKS[wildcards.network],
                **sized_by(NETWORKS[wildcards.network]),
            ),
            code=code_digest("m3h_pipeline.networks.plan"),
        shell:
            "m3h --log {log} plan-variant --settings {params.settings:q} --tasks {input.tasks}"
            " --summary {input.summary} --output {output}"

    use rule train_pack as train_variant with:
        input:
            plan=lambda wildcards: checkpoints.plan_variant.get(
                network=wildcards.network
            ).output[0],
            labels=lambda wildcards: checkpoints.plan_variant.get(
                network=wildcards.network
            )
            and pack_labels(f"variants/{wildcards.network}", wildcards.pack),
            features=FEATURES,
            samples=RESULTS / "cohort/samples.parquet",
            split=RESULTS / "split.parquet",
            genes=GENES,
        output:
            scores=RESULTS / "variants/{network}/packs/{pack}.scores.parquet",
            predictions=RESULTS / "variants/{network}/packs/{pack}.predictions.parquet",
        log:
            LOGS / "variants/{network}/pack_{pack}.log",
        benchmark:
            BENCHMARKS / "variants/{network}/pack_{pack}.tsv"
        priority: 0
        conda:
            "../envs/m3h.yaml"
        params:
            **TRAINING
            | {
                "settings": lambda wildcards: training_settings(
                    NETWORKS[wildcards.network]
                )
            },
            kept="",

    rule compare_variants:
        input:
            plans=lambda wildcards: [
                checkpoints.plan_variant.get(network=name).output[0]
                for name in NETWORKS
            ],
            scores=lambda wildcards: variant_files("scores"),
            predictions=lambda wildcards: variant_files("predictions"),
            baselines=references,
            tasks=RESULTS / "labels/tasks.json",
            labels=LABELS,
            split=RESULTS / "split.parquet",
            samples=RESULTS / "cohort/samples.parquet",
        output:
            RESULTS / "variants/comparison.parquet",
            report(
                RESULTS / "variants/comparison.tsv",
                caption="../report/variants.rst",
                category="9 Networks",
            ),
        log:
            LOGS / "variants/compare.log",
        benchmark:
            BENCHMARKS / "variants/compare.tsv"
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=by_input(2000, 6),
            runtime=minutes(120),
        params:
            settings=settings("evaluation.draws", "seed"),
            networks=[RESULTS / f"variants/{name}" for name in NETWORKS],
            label_folder=RESULTS / "labels",
            output=RESULTS / "variants",
            code=code_digest("m3h_pipeline.networks.compare"),
        shell:
            "m3h --log {log} compare-variants --settings {params.settings:q} --networks {params.networks}"
            " --baselines {input.baselines} --tasks {input.tasks} --labels {params.label_folder}"
            " --split {input.split} --samples {input.samples} --output {params.output}"

    rule draw_variants:
        input:
            comparison=RESULTS / "variants/comparison.parquet",
            tasks=RESULTS / "labels/tasks.json",
        output:
            data=RESULTS / "variants/comparison.csv",
            images=[
                report(
                    RESULTS / f"variants/comparison.{suffix}",
                    caption="../report/variants.rst",
                    category="9 Networks",
                )
                for suffix in STUDY.figures.formats
            ],
        log:
            LOGS / "variants/draw.log",
        benchmark:
            BENCHMARKS / "variants/draw.tsv"
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=settings("figures.formats"),
            output=RESULTS / "variants",
            code=code_digest("m3h_pipeline.figures.networks"),
        shell:
            "m3h --log {log} draw-variants --settings {params.settings:q} --comparison {input.comparison}"
            " --tasks {input.tasks} --output {params.output}"
