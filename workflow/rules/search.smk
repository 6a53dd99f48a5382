# Rounds of the greedy search: each is planned from the scores of those before it, trained in packs, and the
# search ends with the first round that has nothing left to train.
TRAINING = dict(
    settings=settings("model", "training", "compute", "modalities", "seed"),
    cohort=RESULTS / "cohort",
    label_folder=RESULTS / "labels",
    store=RESULTS / "search/store",
    code=code_digest("m3h_pipeline.training.pack"),
)


checkpoint plan_round:
    input:
        tasks=RESULTS / "labels/tasks.json",
        scores=lambda wildcards: [
            RESULTS / f"search/round_{r}/scores.parquet"
            for r in range(1, int(wildcards.round))
        ],
    output:
        RESULTS / "search/round_{round}/plan.json",
    log:
        LOGS / "search/plan_round_{round}.log",
    benchmark:
        BENCHMARKS / "search/plan_round_{round}.tsv"
    params:
        settings=settings("search", "tim", "training", "split"),
        code=code_digest("m3h_pipeline.search.plan"),
    shell:
        "m3h --log {log} plan-round --round {wildcards.round} --settings {params.settings:q}"
        " --tasks {input.tasks} --scores {input.scores} --output {output}"


def planned(stage):
    """The plan of a round or of TIM, once it is made."""
    if stage == "tim":
        return checkpoints.plan_tim.get().output[0]
    return checkpoints.plan_round.get(round=stage.rpartition("_")[2]).output[0]


def pack_labels(stage, pack):
    """Labels of the tasks that a pack learns: no other task's definition touches it."""
    return [
        RESULTS / f"labels/{task}.parquet"
        for task in packs(RESULTS / stage / "plan.json")[pack]
    ]


rule train_pack:
    input:
        plan=lambda wildcards: planned(wildcards.stage),
        labels=lambda wildcards: planned(wildcards.stage)
        and pack_labels(wildcards.stage, wildcards.pack),
        features=FEATURES,
        samples=RESULTS / "cohort/samples.parquet",
        split=RESULTS / "split.parquet",
    output:
        scores=RESULTS / "{stage}/packs/{pack}.scores.parquet",
        predictions=RESULTS / "{stage}/packs/{pack}.predictions.parquet",
    log:
        LOGS / "{stage}/pack_{pack}.log",
    benchmark:
        BENCHMARKS / "{stage}/pack_{pack}.tsv"
    threads: STUDY.compute.threads
    resources:
        mem_mb=lambda wildcards, attempt: int(
            (STUDY.compute.memory_gb + 2) * 1000 * attempt
        ),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        **TRAINING,
        kept="",
    shell:
        "m3h --log {log} train-pack --pack {wildcards.pack} --settings {params.settings:q}"
        " --plan {input.plan} --cohort {params.cohort} --labels {params.label_folder} --split {input.split}"
        " --store {params.store} --scores {output.scores} --predictions {output.predictions}"
        " {params.kept}"


def pack_files(plan, kind):
    """Files of one kind of every pack of a plan."""
    return [Path(plan).parent / f"packs/{pack}.{kind}.parquet" for pack in packs(plan)]


rule merge_scores:
    input:
        lambda wildcards: pack_files(
            checkpoints.plan_round.get(round=wildcards.round).output[0], "scores"
        ),
    output:
        RESULTS / "search/round_{round}/scores.parquet",
    log:
        LOGS / "search/merge_round_{round}.log",
    benchmark:
        BENCHMARKS / "search/merge_round_{round}.tsv"
    params:
        code=code_digest("m3h_pipeline.search.scores"),
    shell:
        "m3h --log {log} merge-scores --scores {input} --output {output}"


def rounds():
    """Plans of the rounds that have something to train; asking for the next one makes Snakemake plan it."""
    plans, r = [], 1
    while packs(plan := checkpoints.plan_round.get(round=r).output[0]):
        plans.append(plan)
        r += 1
    return plans


def round_scores(wildcards):
    return [Path(plan).parent / "scores.parquet" for plan in rounds()]


def round_predictions(wildcards):
    return [path for plan in rounds() for path in pack_files(plan, "predictions")]


rule select:
    input:
        tasks=RESULTS / "labels/tasks.json",
        scores=round_scores,
    output:
        selection=RESULTS / "selection.parquet",
        trajectory=RESULTS / "search/trajectory.parquet",
    log:
        LOGS / "select.log",
    benchmark:
        BENCHMARKS / "select.tsv"
    params:
        settings=settings("search"),
        code=code_digest("m3h_pipeline.search.selection"),
    shell:
        "m3h --log {log} select --settings {params.settings:q} --tasks {input.tasks}"
        " --scores {input.scores} --output {output.selection} --trajectory {output.trajectory}"
