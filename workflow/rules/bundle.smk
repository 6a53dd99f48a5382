# The models that the choice selected, with all that it takes to use them: what leaves the study.


rule export_bundle:
    input:
        plan=lambda wildcards: planned("search/final").plan,
        selection=FILES.selection,
        tasks=FILES.labels.tasks,
        labels=LABELS,
        features=FEATURES,
        reading=FILES.cohort.reading,
        split=FILES.split,
        samples=FILES.cohort.samples,
        scores=pack_files("scores", "search/final"),
        predictions=pack_files("predictions", "search/final"),
        baselines=references,
        # Scores and predictions come from the same jobs; of a folder Snakemake knows the time alone.
        models=lambda wildcards: ancient(
            plans.pack_models(FILES, planned("search/final"))
        ),
        references=lambda wildcards: ancient(reference_models(wildcards)),
        choice=FILES.evaluation.table("choice"),
        optimism=FILES.evaluation.table("optimism"),
        slopes=FILES.evaluation.table("calibration_slopes"),
    output:
        folder=directory(FILES.bundle.folder),
        made=touch(FILES.made("bundle")),
    log:
        FILES.log("bundle"),
    benchmark:
        FILES.benchmark("bundle")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=growing(60),
    params:
        settings=told("export_bundle"),
        scores=listed("export_bundle", "scores"),
        predictions=listed("export_bundle", "predictions"),
        models=listed("export_bundle", "models"),
        references=listed("export_bundle", "references"),
        baselines=listed("export_bundle", "baselines"),
        cohort=FILES.cohort.folder,
        label_folder=FILES.labels.folder,
        evaluation=FILES.evaluation.folder,
        ledger=FILES.ledger,
        code=code_of("export-bundle"),
    shell:
        "m3h --log {log:q} export-bundle --settings @{params.settings:q} --cohort {params.cohort:q}"
        " --labels {params.label_folder:q} --tasks {input.tasks:q} --split {input.split:q}"
        " --selection {input.selection:q} --evaluation {params.evaluation:q} --scores @{params.scores:q}"
        " --predictions @{params.predictions:q} --models @{params.models:q} --baselines @{params.baselines:q}"
        " --references @{params.references:q} --ledger {params.ledger:q} --output {output.folder:q}"
