# Final fits on the whole training part, references beside them, and the test part opened once.
from m3h_pipeline.jobs.resources import reference_mb, reference_minutes


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
        settings=told("plan_final"),
        code=code_of("plan-final"),
    shell:
        "m3h --log {log:q} plan-final --settings @{params.settings:q} --selection {input.selection:q}"
        " --tasks {input.tasks:q} --summary {input.summary:q} --output {output:q}"


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
        settings=told("train"),
        kept=lambda wildcards, output: [
            *("--attention", output.attention),
            *("--latents", output.latents),
            *("--models", output.models),
        ],


rule baselines:
    input:
        labels=FILES.labels.labels_of("{task}"),
        features=FEATURES,
        given=lambda wildcards: outputs.given(FILES, STUDY, wildcards.task),
        samples=FILES.cohort.samples,
        split=FILES.split,
    output:
        predictions=FILES.evaluation.baselines("{task}"),
        models=directory(FILES.references_of("{task}")),
    log:
        FILES.log("evaluation/baselines_{task}"),
    benchmark:
        FILES.benchmark("evaluation/baselines_{task}")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=reference_mb(STUDY),
        runtime=reference_minutes(STUDY),
    params:
        settings=told("baselines", "task"),
        cohort=FILES.cohort.folder,
        label_folder=FILES.labels.folder,
        store=FILES.store,
        code=code_of("baselines"),
    shell:
        "m3h --log {log:q} baselines --task {wildcards.task:q} --settings @{params.settings:q}"
        " --cohort {params.cohort:q} --labels {params.label_folder:q} --split {input.split:q}"
        " --store {params.store:q} --models {output.models:q} --output {output.predictions:q}"


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
        # What a synthetic cohort planted.
        truth=[FILES.truth] if SYNTHETIC else [],
    output:
        FILES.evaluation.tables(),
        report(
            FILES.evaluation.summary,
            caption="../report/summary.rst",
            category="5 Test",
            labels={"figure": "The result in one table"},
        ),
        FILES.evaluation.headline,
        [
            report(
                FILES.evaluation.planted,
                caption="../report/planted.rst",
                category="5 Test",
                labels={"figure": "What was planted, and what was found"},
            )
        ]
        if SYNTHETIC
        else [],
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
        settings=told("evaluate"),
        scores=listed("evaluate", "scores"),
        predictions=listed("evaluate", "predictions"),
        attention=listed("evaluate", "attention"),
        search_predictions=listed("evaluate", "search_predictions"),
        label_folder=FILES.labels.folder,
        output=FILES.evaluation.folder,
        ledger=FILES.ledger,
        truth=["--truth", FILES.truth] if SYNTHETIC else [],
        code=code_of("evaluate"),
    shell:
        "m3h --log {log:q} evaluate --settings @{params.settings:q} --selection {input.selection:q}"
        " --trajectory {input.trajectory:q} --tasks {input.tasks:q} --labels {params.label_folder:q}"
        " --split {input.split:q} --samples {input.samples:q} --scores @{params.scores:q}"
        " --predictions @{params.predictions:q} --attention @{params.attention:q} --baselines {input.baselines:q}"
        " --search-scores {input.search_scores:q} --search-predictions @{params.search_predictions:q}"
        " {params.truth:q} --ledger {params.ledger:q} --output {params.output:q}"


rule phenotypes:
    input:
        plan=lambda wildcards: planned("search/final").plan,
        selection=FILES.selection,
        tasks=FILES.labels.tasks,
        labels=LABELS,
        features=FEATURES,
        scores=pack_files("scores", "search/final"),
        predictions=pack_files("predictions", "search/final"),
        latents=pack_files("latents", "search/final"),
        split=FILES.split,
        samples=FILES.cohort.samples,
        diagnoses=[FILES.cohort.diagnoses] if SOURCE.has_diagnoses else [],
    output:
        map=FILES.evaluation.phenotypes,
        scores=FILES.evaluation.phenotype_scores,
        profiles=FILES.evaluation.phenotype_profiles,
    log:
        FILES.log("evaluation/phenotypes"),
    benchmark:
        FILES.benchmark("evaluation/phenotypes")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=growing(60),
    params:
        settings=told("phenotypes"),
        scores=listed("phenotypes", "scores"),
        predictions=listed("phenotypes", "predictions"),
        latents=listed("phenotypes", "latents"),
        cohort=FILES.cohort.folder,
        label_folder=FILES.labels.folder,
        ledger=FILES.ledger,
        code=code_of("phenotypes"),
    shell:
        "m3h --log {log:q} phenotypes --settings @{params.settings:q} --cohort {params.cohort:q}"
        " --labels {params.label_folder:q} --tasks {input.tasks:q} --split {input.split:q}"
        " --selection {input.selection:q} --scores @{params.scores:q} --predictions @{params.predictions:q}"
        " --latents @{params.latents:q} --compared {output.scores:q} --profiles {output.profiles:q}"
        " --ledger {params.ledger:q} --output {output.map:q}"


rule performance:
    input:
        plan=lambda wildcards: planned("search/final").plan,
        selection=FILES.selection,
        tasks=FILES.labels.tasks,
        labels=LABELS,
        split=FILES.split,
        samples=FILES.cohort.samples,
        scores=pack_files("scores", "search/final"),
        predictions=pack_files("predictions", "search/final"),
        baselines=references,
        choice=[FILES.evaluation.table(name) for name in ("choice", "optimism")],
    output:
        FILES.evaluation.performance,
        FILES.evaluation.subgroups,
        FILES.evaluation.operating_points,
        FILES.evaluation.confusion,
    log:
        FILES.log("evaluation/performance"),
    benchmark:
        FILES.benchmark("evaluation/performance")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=growing(120),
    params:
        settings=told("performance"),
        scores=listed("performance", "scores"),
        predictions=listed("performance", "predictions"),
        label_folder=FILES.labels.folder,
        evaluation=FILES.evaluation.folder,
        ledger=FILES.ledger,
        code=code_of("performance"),
    shell:
        "m3h --log {log:q} performance --settings @{params.settings:q} --selection {input.selection:q}"
        " --tasks {input.tasks:q} --labels {params.label_folder:q} --split {input.split:q}"
        " --samples {input.samples:q} --scores @{params.scores:q} --predictions @{params.predictions:q}"
        " --baselines {input.baselines:q} --evaluation {params.evaluation:q} --ledger {params.ledger:q}"


rule missing:
    input:
        plan=lambda wildcards: planned("search/final").plan,
        selection=FILES.selection,
        tasks=FILES.labels.tasks,
        labels=LABELS,
        features=FEATURES,
        split=FILES.split,
        samples=FILES.cohort.samples,
        scores=pack_files("scores", "search/final"),
        # Scores come from the same jobs; of a folder Snakemake knows the time alone.
        models=lambda wildcards: ancient(
            plans.pack_models(FILES, planned("search/final"))
        ),
    output:
        missing=FILES.evaluation.missing,
        reliance=FILES.evaluation.reliance,
    log:
        FILES.log("evaluation/missing"),
    benchmark:
        FILES.benchmark("evaluation/missing")
    conda:
        "../envs/m3h.yaml"
    resources:
        mem_mb=by_input(2000, 6),
        runtime=growing(120),
    params:
        settings=told("missing"),
        scores=listed("missing", "scores"),
        models=listed("missing", "models"),
        cohort=FILES.cohort.folder,
        label_folder=FILES.labels.folder,
        ledger=FILES.ledger,
        code=code_of("missing"),
    shell:
        "m3h --log {log:q} missing --settings @{params.settings:q} --cohort {params.cohort:q}"
        " --labels {params.label_folder:q} --tasks {input.tasks:q} --split {input.split:q}"
        " --selection {input.selection:q} --scores @{params.scores:q} --models @{params.models:q}"
        " --ledger {params.ledger:q} --reliance {output.reliance:q} --output {output.missing:q}"
