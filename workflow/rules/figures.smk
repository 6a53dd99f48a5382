# Tables -> figures: SVG, PNG and the CSV behind each.


rule figure:
    input:
        lambda wildcards: [RESULTS / path for path in FIGURES[wildcards.figure].inputs],
    output:
        data=RESULTS / "figures/{figure}.csv",
        images=[
            report(
                RESULTS / f"figures/{{figure}}.{suffix}",
                caption="../report/figure.rst",
                category=lambda wildcards: FIGURES[wildcards.figure].chapter,
                subcategory="{figure}",
            )
            for suffix in STUDY.figures.formats
        ],
    log:
        LOGS / "figures/{figure}.log",
    benchmark:
        BENCHMARKS / "figures/{figure}.tsv"
    conda:
        "../envs/m3h.yaml"
    params:
        settings=lambda wildcards: settings(
            *[f"figures.{key}" for key in FIGURES[wildcards.figure].settings]
        ),
        study=RESULTS,
        output=RESULTS / "figures",
        code=lambda wildcards: code_digest(FIGURES[wildcards.figure].module),
    shell:
        "m3h --log {log} figure --figure {wildcards.figure} --settings {params.settings:q}"
        " --study {params.study} --output {params.output}"


rule figures:
    input:
        expand(
            RESULTS / "figures/{figure}.{suffix}",
            figure=FIGURES,
            suffix=[*STUDY.figures.formats, "csv"],
        ),
