# What the study was made from and with, and the digest of all that came out: last of all.


localrules:
    record,


rule record:
    input:
        rules.figures.input,
        outputs.gene_pair_figures(FILES, STUDY),
        outputs.network_comparison(FILES, STUDY),
        FILES.selection,
        FILES.selection_summary,
        FILES.evaluation.summary,
        FILES.evaluation.performance,
        FILES.evaluation.participants,
        FILES.made("bundle"),
        FILES.labels.audit,
        FILES.report,
    output:
        FILES.record,
    log:
        FILES.log("record"),
    benchmark:
        FILES.benchmark("record")
    conda:
        "../envs/m3h.yaml"
    params:
        settings=lambda wildcards: TOLD.file(
            "record", "json", SETTINGS.record(explained(INPUTS.hashes))
        ),
        study=FILES.folder,
        code=[code_of("record"), *code_of_stages().values()],
    shell:
        "m3h --log {log:q} record --settings @{params.settings:q} --study {params.study:q} --output {output:q}"
