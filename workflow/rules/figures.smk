# Tables -> figures: SVG, PNG and the CSV behind each.


localrules:
    figure,
    figures,


rule figure:
    input:
        lambda wildcards: [
            FILES.folder / path for path in FIGURES[wildcards.figure].inputs
        ],
    output:
        data=FILES.figure("{figure}", "csv"),
        images=[
            # The report shows each figure once, in the first of its formats.
            (
                report(
                    FILES.figure("{figure}", suffix),
                    caption="../report/figure.rst",
                    category=lambda wildcards: FIGURES[wildcards.figure].chapter,
                    labels=lambda wildcards: {
                        "figure": FIGURES[wildcards.figure].title
                    },
                )
                if suffix == STUDY.figures.formats[0]
                else FILES.figure("{figure}", suffix)
            )
            for suffix in STUDY.figures.formats
        ],
    log:
        FILES.log("figures/{figure}"),
    benchmark:
        FILES.benchmark("figures/{figure}")
    conda:
        "../envs/m3h.yaml"
    params:
        settings=told("figure", "figure"),
        study=FILES.folder,
        output=FILES.figures,
        code=lambda wildcards: code_of_figure(wildcards.figure),
    shell:
        "m3h --log {log:q} figure --figure {wildcards.figure:q} --settings @{params.settings:q}"
        " --study {params.study:q} --output {params.output:q}"


rule figures:
    input:
        outputs.figures(FILES, STUDY, {task.problem_class for task in TASKS.values()}),
