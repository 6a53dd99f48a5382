# Final fits on the whole training part, references beside them, and the test part opened once.


checkpoint plan_final:
    input:
        selection=FILES.selection,
        tasks=FILES.labels.tasks,
        summary=FILES.cohort.summary,
    output:
        FILES.final.plan,
    log:
        FILES.log("final/plan"),
    benchmark:
        FILES.benchmark("final/plan")
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        settings=SETTINGS.plan_final(),
        code=code_of("plan-final"),
    shell:
        "m3h --log {log} plan-final --settings {params.settings:q} --selection {input.selection}"
        " --tasks {input.tasks} --summary {input.summary} --output {output}"


# Final fits are packs as any other, and keep their models, attention and latents.
use rule train_pack as train_final with:
    input:
        **pack_inputs(lambda wildcards: "search/final"),
    output:
        scores=FILES.final.of_pack("{pack}", "scores"),
        predictions=FILES.final.of_pack("{pack}", "predictions"),
        attention=FILES.final.of_pack("{pack}", "attention"),
        latents=FILES.final.of_pack("{pack}", "latents"),
        models=directory(FILES.models_of("{pack}")),
    log:
        FILES.log("final/pack_{pack}"),
    benchmark:
        FILES.benchmark("final/pack_{pack}")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=TRAINING.memory_mb(kept=True),
        runtime=TRAINING.runtime(),
    params:
        **TRAINED_WITH,
        settings=SETTINGS.train(),
        kept=lambda wildcards, output: (
            f"--attention {output.attention} --latents {output.latents} --models {output.models}"
        ),


rule baselines:
    input:
        labels=FILES.labels.labels_of("{task}"),
        features=FEATURES,
        samples=FILES.cohort.samples,
        split=FILES.split,
    output:
        FILES.evaluation.baselines("{task}"),
    log:
        FILES.log("evaluation/baselines_{task}"),
    benchmark:
        FILES.benchmark("evaluation/baselines_{task}")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(1500, 8),
        runtime=growing(120),
    params:
        settings=SETTINGS.baselines(),
        cohort=FILES.cohort.folder,
        label_folder=FILES.labels.folder,
        code=code_of("baselines"),
    shell:
        "m3h --log {log} baselines --task {wildcards.task} --settings {params.settings:q}"
        " --cohort {params.cohort} --labels {params.label_folder} --split {input.split} --output {output}"


rule evaluate:
    input:
        plan=lambda wildcards: planned("search/final").plan,
        selection=FILES.selection,
        trajectory=FILES.trajectory,
        tasks=FILES.labels.tasks,
        labels=LABELS,
        split=FILES.split,
        samples=FILES.cohort.samples,
        scores=pack_files("scores", "search/final"),
        predictions=pack_files("predictions", "search/final"),
        attention=pack_files("attention", "search/final"),
        baselines=references,
        search_scores=round_scores,
        search_predictions=round_predictions,
    output:
        FILES.evaluation.tables(),
        report(
            FILES.evaluation.summary,
            caption="../report/summary.rst",
            category="5 Test",
        ),
    log:
        FILES.log("evaluation/evaluate"),
    benchmark:
        FILES.benchmark("evaluation/evaluate")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=growing(120),
    params:
        settings=SETTINGS.evaluate(),
        label_folder=FILES.labels.folder,
        output=FILES.evaluation.folder,
        code=code_of("evaluate"),
    shell:
        "m3h --log {log} evaluate --settings {params.settings:q} --selection {input.selection}"
        " --trajectory {input.trajectory} --tasks {input.tasks} --labels {params.label_folder}"
        " --split {input.split} --samples {input.samples} --scores {input.scores}"
        " --predictions {input.predictions} --attention {input.attention} --baselines {input.baselines}"
        " --search-scores {input.search_scores} --search-predictions {input.search_predictions}"
        " --output {params.output}"


rule phenotypes:
    input:
        plan=lambda wildcards: planned("search/final").plan,
        selection=FILES.selection,
        scores=pack_files("scores", "search/final"),
        predictions=pack_files("predictions", "search/final"),
        latents=pack_files("latents", "search/final"),
    output:
        FILES.evaluation.phenotypes,
    log:
        FILES.log("evaluation/phenotypes"),
    benchmark:
        FILES.benchmark("evaluation/phenotypes")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=growing(30),
    params:
        settings=SETTINGS.phenotypes(),
        code=code_of("phenotypes"),
    shell:
        "m3h --log {log} phenotypes --settings {params.settings:q} --selection {input.selection}"
        " --scores {input.scores} --predictions {input.predictions} --latents {input.latents}"
        " --output {output}"
