# Networks compared with the study's own one: the same fits of each, and one table of them all.


COMPARED = [f"search/networks/{name}" for name in NETWORKS]

if NETWORKS:

    checkpoint plan_network:
        input:
            tasks=FILES.labels.tasks,
            summary=FILES.cohort.summary,
        output:
            FILES.networks.fits_of("{network}").plan,
        log:
            FILES.log("networks/{network}/plan"),
        benchmark:
            FILES.benchmark("networks/{network}/plan")
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=told("plan_network", "network"),
            code=code_of("plan-network"),
        shell:
            "m3h --log {log:q} plan-network --settings @{params.settings:q} --tasks {input.tasks:q}"
            " --summary {input.summary:q} --output {output:q}"

    use rule train_pack as train_network with:
        input:
            **pack_inputs(lambda wildcards: f"search/networks/{wildcards.network}"),
        output:
            scores=FILES.networks.fits_of("{network}").of_pack("{pack}", "scores"),
            predictions=FILES.networks.fits_of("{network}").of_pack(
                "{pack}", "predictions"
            ),
        log:
            FILES.log("networks/{network}/pack_{pack}"),
        benchmark:
            FILES.benchmark("networks/{network}/pack_{pack}")
        priority: 0
        conda:
            "../envs/m3h.yaml"
        params:
            **TRAINED_WITH,
            settings=told("train", "network"),
            kept=[],

    rule compare_networks:
        input:
            plans=lambda wildcards: [planned(stage).plan for stage in COMPARED],
            scores=pack_files("scores", *COMPARED),
            predictions=pack_files("predictions", *COMPARED),
            baselines=references,
            tasks=FILES.labels.tasks,
            labels=LABELS,
            split=FILES.split,
            samples=FILES.cohort.samples,
        output:
            FILES.networks.comparison("parquet"),
            report(
                FILES.networks.comparison("tsv"),
                caption="../report/networks.rst",
                category="9 Networks",
                labels={"figure": "The comparison in one table"},
            ),
        log:
            FILES.log("networks/compare"),
        benchmark:
            FILES.benchmark("networks/compare")
        conda:
            "../envs/m3h.yaml"
        resources:
            mem_mb=by_input(2000, 6),
            runtime=growing(120),
        params:
            settings=told("compare_networks"),
            networks=[FILES.stage(stage).folder for stage in COMPARED],
            label_folder=FILES.labels.folder,
            output=FILES.networks.folder,
            ledger=FILES.ledger,
            code=code_of("compare-networks"),
        shell:
            "m3h --log {log:q} compare-networks --settings @{params.settings:q} --networks {params.networks:q}"
            " --baselines {input.baselines:q} --tasks {input.tasks:q} --labels {params.label_folder:q}"
            " --split {input.split:q} --samples {input.samples:q} --ledger {params.ledger:q} --output {params.output:q}"

    rule draw_networks:
        input:
            comparison=FILES.networks.comparison("parquet"),
            tasks=FILES.labels.tasks,
        output:
            data=FILES.networks.comparison("csv"),
            images=[
                (
                    report(
                        FILES.networks.comparison(suffix),
                        caption="../report/networks.rst",
                        category="9 Networks",
                        labels={"figure": "Networks compared"},
                    )
                    if suffix == STUDY.figures.formats[0]
                    else FILES.networks.comparison(suffix)
                )
                for suffix in STUDY.figures.formats
            ],
        log:
            FILES.log("networks/draw"),
        benchmark:
            FILES.benchmark("networks/draw")
        localrule: True
        conda:
            "../envs/m3h.yaml"
        params:
            settings=told("draw_networks"),
            output=FILES.networks.folder,
            code=code_of("draw-networks"),
        shell:
            "m3h --log {log:q} draw-networks --settings @{params.settings:q} --comparison {input.comparison:q}"
            " --tasks {input.tasks:q} --output {params.output:q}"
