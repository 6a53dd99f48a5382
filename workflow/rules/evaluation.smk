# Final fits on the whole training part, references beside them, and the test part opened once.


checkpoint plan_final:
    input:
        selection=RESULTS / "selection.parquet",
        tasks=RESULTS / "labels/tasks.json",
    output:
        RESULTS / "final/plan.json",
    log:
        LOGS / "final/plan.log",
    benchmark:
        BENCHMARKS / "final/plan.tsv"
    params:
        settings=settings("evaluation", "search"),
        code=code_digest("m3h_pipeline.evaluation.final"),
    shell:
        "m3h --log {log} plan-final --settings {params.settings:q} --selection {input.selection}"
        " --tasks {input.tasks} --output {output}"


# Final fits are packs as any other, and keep their models, attention and latents.
use rule train_pack as train_final with:
    input:
        plan=lambda wildcards: checkpoints.plan_final.get().output[0],
        labels=lambda wildcards: checkpoints.plan_final.get()
        and pack_labels("final", wildcards.pack),
        features=FEATURES,
        samples=RESULTS / "cohort/samples.parquet",
        split=RESULTS / "split.parquet",
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
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        settings=settings("evaluation", "modalities", "seed"),
        cohort=RESULTS / "cohort",
        label_folder=RESULTS / "labels",
        code=code_digest("m3h_pipeline.evaluation.baselines"),
    shell:
        "m3h --log {log} baselines --task {wildcards.task} --settings {params.settings:q}"
        " --cohort {params.cohort} --labels {params.label_folder} --split {input.split} --output {output}"
