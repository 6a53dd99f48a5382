# Final fits on the whole training part, references beside them, and the test part opened once.


checkpoint plan_final:
    input:
        selection=RESULTS / "selection.parquet",
        tasks=RESULTS / "labels/tasks.json",
        summary=RESULTS / "cohort/summary.json",
    output:
        RESULTS / "final/plan.json",
    log:
        LOGS / "final/plan.log",
    benchmark:
        BENCHMARKS / "final/plan.tsv"
    priority: 1
    conda:
        "../envs/m3h.yaml"
    params:
        settings=settings(
            "evaluation.replicates", "search.combinations_per_job", **SIZED
        ),
        code=code_digest("m3h_pipeline.evaluation.final"),
    shell:
        "m3h --log {log} plan-final --settings {params.settings:q} --selection {input.selection}"
        " --tasks {input.tasks} --summary {input.summary} --output {output}"


# Final fits are packs as any other, and keep their models, attention and latents.
use rule train_pack as train_final with:
    input:
        plan=lambda wildcards: checkpoints.plan_final.get().output[0],
        labels=lambda wildcards: checkpoints.plan_final.get()
        and pack_labels("final", wildcards.pack),
        features=FEATURES,
        samples=RESULTS / "cohort/samples.parquet",
        split=RESULTS / "split.parquet",
        genes=GENES,
    output:
        scores=RESULTS / "final/packs/{pack}.scores.parquet",
        predictions=RESULTS / "final/packs/{pack}.predictions.parquet",
        attention=RESULTS / "final/packs/{pack}.attention.parquet",
        latents=RESULTS / "final/packs/{pack}.latents.parquet",
        models=directory(RESULTS / "final/models/{pack}"),
    log:
        LOGS / "final/pack_{pack}.log",
    benchmark:
        BENCHMARKS / "final/pack_{pack}.tsv"
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=training_resource(partial(sizing.memory_mb, kept=True)),
        runtime=training_resource(sizing.runtime_minutes),
    params:
        **TRAINING,
        kept=lambda wildcards, output: (
            f"--attention {output.attention} --latents {output.latents} --models {output.models}"
        ),


rule baselines:
    input:
        labels=RESULTS / "labels/{task}.parquet",
        features=FEATURES,
        samples=RESULTS / "cohort/samples.parquet",
        split=RESULTS / "split.parquet",
    output:
        RESULTS / "evaluation/baselines/{task}.parquet",
    log:
        LOGS / "evaluation/baselines_{task}.log",
    benchmark:
        BENCHMARKS / "evaluation/baselines_{task}.tsv"
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(1500, 8),
        runtime=minutes(120),
    params:
        settings=settings(
            "evaluation.baselines",
            "seed",
            modalities={
                name: {"sources": modality.sources}
                for name, modality in STUDY.modalities.items()
            },
        ),
        cohort=RESULTS / "cohort",
        label_folder=RESULTS / "labels",
        code=code_digest("m3h_pipeline.evaluation.baselines"),
    shell:
        "m3h --log {log} baselines --task {wildcards.task} --settings {params.settings:q}"
        " --cohort {params.cohort} --labels {params.label_folder} --split {input.split} --output {output}"


rule evaluate:
    input:
        plan=lambda wildcards: checkpoints.plan_final.get().output[0],
        selection=RESULTS / "selection.parquet",
        trajectory=RESULTS / "search/trajectory.parquet",
        tasks=RESULTS / "labels/tasks.json",
        labels=LABELS,
        split=RESULTS / "split.parquet",
        samples=RESULTS / "cohort/samples.parquet",
        scores=final_files("scores"),
        predictions=final_files("predictions"),
        attention=final_files("attention"),
        baselines=references,
        search_scores=round_scores,
        search_predictions=round_predictions,
    output:
        RESULTS / "evaluation/evaluation.parquet",
        RESULTS / "evaluation/comparison.parquet",
        RESULTS / "evaluation/calibration.parquet",
        RESULTS / "evaluation/roc.parquet",
        RESULTS / "evaluation/agreement.parquet",
        RESULTS / "evaluation/survival.parquet",
        RESULTS / "evaluation/kaplan_meier.parquet",
        RESULTS / "evaluation/dynamic_auroc.parquet",
        RESULTS / "evaluation/attention.parquet",
        RESULTS / "evaluation/optimism.parquet",
        report(
            RESULTS / "evaluation/summary.tsv",
            caption="../report/summary.rst",
            category="5 Test",
        ),
    log:
        LOGS / "evaluation/evaluate.log",
    benchmark:
        BENCHMARKS / "evaluation/evaluate.tsv"
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=minutes(120),
    params:
        settings=settings(
            "evaluation.draws",
            "search.min_improvement",
            "figures.quantiles",
            "seed",
        ),
        label_folder=RESULTS / "labels",
        output=RESULTS / "evaluation",
        code=code_digest("m3h_pipeline.evaluation.evaluate"),
    shell:
        "m3h --log {log} evaluate --settings {params.settings:q} --selection {input.selection}"
        " --trajectory {input.trajectory} --tasks {input.tasks} --labels {params.label_folder}"
        " --split {input.split} --samples {input.samples} --scores {input.scores}"
        " --predictions {input.predictions} --attention {input.attention} --baselines {input.baselines}"
        " --search-scores {input.search_scores} --search-predictions {input.search_predictions}"
        " --output {params.output}"


rule phenotypes:
    input:
        plan=lambda wildcards: checkpoints.plan_final.get().output[0],
        selection=RESULTS / "selection.parquet",
        scores=final_files("scores"),
        predictions=final_files("predictions"),
        latents=final_files("latents"),
    output:
        RESULTS / "evaluation/phenotypes.parquet",
    log:
        LOGS / "evaluation/phenotypes.log",
    benchmark:
        BENCHMARKS / "evaluation/phenotypes.tsv"
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=minutes(30),
    params:
        settings=settings("seed", "figures.umap_samples"),
        code=code_digest("m3h_pipeline.evaluation.phenotypes"),
    shell:
        "m3h --log {log} phenotypes --settings {params.settings:q} --selection {input.selection}"
        " --scores {input.scores} --predictions {input.predictions} --latents {input.latents}"
        " --output {output}"
