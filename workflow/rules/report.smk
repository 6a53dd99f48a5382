# All of it for people: one file that a browser opens, made of tables alone.


localrules:
    report_page,


rule report_page:
    input:
        outputs.reported(FILES, STUDY),
        # Whose making stands in the ledger, which the report shows.
        FILES.made("bundle"),
        outputs.gene_pair_figures(FILES, STUDY),
        outputs.network_comparison(FILES, STUDY),
    output:
        FILES.report,
    log:
        FILES.log("report"),
    benchmark:
        FILES.benchmark("report")
    conda:
        "../envs/m3h.yaml"
    params:
        settings=lambda wildcards: TOLD.file(
            "report_page", "json", SETTINGS.record(explained(INPUTS.hashes))
        ),
        study=FILES.folder,
        code=[code_of("report-page"), code_of_assets(), *code_of_stages().values()],
    shell:
        "m3h --log {log:q} report-page --settings @{params.settings:q} --study {params.study:q}"
        " --output {output:q}"
