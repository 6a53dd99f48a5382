# Networks compared with the study's own one: the same fits of each, and one table of them all.


if NETWORKS:

    checkpoint plan_network:
        input:
            tasks=RESULTS / "labels/tasks.json",
            summary=RESULTS / "cohort/summary.json",
        output:
            RESULTS / "networks/{network}/plan.json",
        log:
            LOGS / "networks/{network}/plan.log",
        benchmark:
            BENCHMARKS / "networks/{network}/plan.tsv"
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=lambda wildcards: settings(
                "networks.replicates",
                "networks.alone",
                "search.combinations_per_job",
                "training.batch_sizes",
                "training.learning_rates",
                "split.folds",
                of=NETWORKS[wildcards.network],
                **sized_by(NETWORKS[wildcards.network]),
            ),
            code=code_digest("m3h_pipeline.networks.plan"),
        shell:
            "m3h --log {log} plan-network --settings {params.settings:q} --tasks {input.tasks}"
            " --summary {input.summary} --output {output}"

    use rule train_pack as train_network with:
        input:
            plan=lambda wildcards: checkpoints.plan_network.get(
                network=wildcards.network
            ).output[0],
            labels=lambda wildcards: checkpoints.plan_network.get(
                network=wildcards.network
            )
            and pack_labels(f"networks/{wildcards.network}", wildcards.pack),
            features=FEATURES,
            samples=RESULTS / "cohort/samples.parquet",
            split=RESULTS / "split.parquet",
            genes=GENES,
        output:
            scores=RESULTS / "networks/{network}/packs/{pack}.scores.parquet",
            predictions=RESULTS / "networks/{network}/packs/{pack}.predictions.parquet",
        log:
            LOGS / "networks/{network}/pack_{pack}.log",
        benchmark:
            BENCHMARKS / "networks/{network}/pack_{pack}.tsv"
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

    rule compare_networks:
        input:
            plans=lambda wildcards: [
                checkpoints.plan_network.get(network=name).output[0]
                for name in NETWORKS
            ],
            scores=lambda wildcards: network_files("scores"),
            predictions=lambda wildcards: network_files("predictions"),
            baselines=references,
            tasks=RESULTS / "labels/tasks.json",
            labels=LABELS,
            split=RESULTS / "split.parquet",
            samples=RESULTS / "cohort/samples.parquet",
        output:
            RESULTS / "networks/comparison.parquet",
            report(
                RESULTS / "networks/comparison.tsv",
                caption="../report/networks.rst",
                category="9 Networks",
            ),
        log:
            LOGS / "networks/compare.log",
        benchmark:
            BENCHMARKS / "networks/compare.tsv"
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=by_input(2000, 6),
            runtime=minutes(120),
        params:
            settings=settings("evaluation.draws", "seed"),
            networks=[RESULTS / f"networks/{name}" for name in NETWORKS],
            label_folder=RESULTS / "labels",
            output=RESULTS / "networks",
            code=code_digest("m3h_pipeline.networks.compare"),
        shell:
            "m3h --log {log} compare-networks --settings {params.settings:q} --networks {params.networks}"
            " --baselines {input.baselines} --tasks {input.tasks} --labels {params.label_folder}"
            " --split {input.split} --samples {input.samples} --output {params.output}"

    rule draw_networks:
        input:
            comparison=RESULTS / "networks/comparison.parquet",
            tasks=RESULTS / "labels/tasks.json",
        output:
            data=RESULTS / "networks/comparison.csv",
            images=[
                report(
                    RESULTS / f"networks/comparison.{suffix}",
                    caption="../report/networks.rst",
                    category="9 Networks",
                )
                for suffix in STUDY.figures.formats
            ],
        log:
            LOGS / "networks/draw.log",
        benchmark:
            BENCHMARKS / "networks/draw.tsv"
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=settings("figures.formats"),
            output=RESULTS / "networks",
            code=code_digest("m3h_pipeline.figures.networks"),
        shell:
            "m3h --log {log} draw-networks --settings {params.settings:q} --comparison {input.comparison}"
            " --tasks {input.tasks} --output {params.output}"
