"""A whole study in this process: every stage by the function that its verb calls, in the workflow's order."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from m3h_pipeline.bundle.making.export import Results, export_bundle
from m3h_pipeline.check import checked_tasks
from m3h_pipeline.cohort.ingest import ingest
from m3h_pipeline.config import Study, located_source
from m3h_pipeline.evaluation.evaluate import evaluate
from m3h_pipeline.evaluation.final import plan_final
from m3h_pipeline.evaluation.missing import Sources, missing_scores
from m3h_pipeline.evaluation.participants.stage import describe_participants
from m3h_pipeline.evaluation.performance.stage import Sources as Performance
from m3h_pipeline.evaluation.performance.stage import measure_performance
from m3h_pipeline.evaluation.phenotypes import scores as phenotypes
from m3h_pipeline.evaluation.phenotypes.map import phenotype_map
from m3h_pipeline.figures.registry import render
from m3h_pipeline.files import read_json
from m3h_pipeline.references.stage import run_baselines
from m3h_pipeline.search.combinations import per_job_of
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.search.scores import merge_scores
from m3h_pipeline.search.selection import select
from m3h_pipeline.split import split_cohort
from m3h_pipeline.tasks.assess import assess
from m3h_pipeline.tasks.labels import label_task
from m3h_pipeline.tim.estimate import compute_tim
from m3h_pipeline.tim.plan import plan_tim
from m3h_pipeline.training.pack import train_pack
from m3h_pipeline.training.spec import TrainingSettings

#: Those that need neither a multiclass, a regression of its own, a survival, nor a clustering task.
FIGURES = ("trajectories", "improvement", "comparison", "tim", "calibration", "agreement", "attention")


class Whole:
    """A study, stage by stage.

    Args:
        study: its configuration; two rounds of the search are run.
        folder: of the results.
    """

    def __init__(self, study: Study, folder: Path) -> None:
        self.study, self.folder = study, folder
        self.cohort, self.labels = folder / "cohort", folder / "labels"
        self.split, self.tasks = folder / "split.parquet", folder / "labels/tasks.json"

    def run(self) -> None:
        """All stages."""
        self.prepare()
        self.search()
        self.finish()

    def prepare(self) -> None:
        """Cohort, labels, split, assessment."""
        names = [name for modality in self.study.modalities.values() for name in modality.sources]
        ingest(located_source(self.study), names, self.cohort, stream=io.StringIO())
        paths = {}
        for name, definition in checked_tasks(self.study, "the study").items():
            paths[name] = self.labels / f"{name}.parquet"
            permute = self.study.seed if name in self.study.tasks.permute else None
            label_task(name, definition, self.cohort, paths[name], self.labels / f"{name}.audit.tsv", permute)
        stratify = {name: paths[name] for name in self.study.split.stratify_by}
        split_cohort(self.cohort / "samples.parquet", stratify, self.split, self.study.split, paths)
        assess(paths, self.split, self.cohort / "samples.parquet", self.labels, self.study.tasks)

    def train(self, plan: Path, final: bool = False) -> tuple[list[Path], list[Path]]:
        """The packs of a plan: their scores and predictions."""
        s = self.study
        settings = TrainingSettings(s.model, s.training, s.compute, s.modalities, s.seed)
        packs = plan.parent / "packs"
        ids = sorted(read_json(plan)["packs"])
        for pack in ids:
            more = {"models": self.folder / "final/models" / pack} if final else {}
            kinds = ("attention", "latents") if final else ()
            more |= {kind: packs / f"{pack}.{kind}.parquet" for kind in kinds}
            train_pack(
                plan,
                pack,
                self.cohort,
                self.labels,
                self.split,
                self.folder / "search/store",
                packs / f"{pack}.scores.parquet",
                packs / f"{pack}.predictions.parquet",
                settings,
                **more,
            )
        return [packs / f"{i}.scores.parquet" for i in ids], [packs / f"{i}.predictions.parquet" for i in ids]

    def search(self) -> None:
        """Two rounds, the selection, TIM."""
        s = self.study
        per_job = per_job_of(s.search, None)
        self.scores: list[Path] = []
        self.predictions: list[Path] = []
        for number in (1, 2):
            plan = self.folder / f"search/round_{number}/plan.json"
            plan_round(
                number, self.tasks, self.scores, plan, s.search, s.tim, s.training, s.split.folds, per_job
            )
            scores, predictions = self.train(plan)
            merge_scores(scores, plan.parent / "scores.parquet")
            self.scores.append(plan.parent / "scores.parquet")
            self.predictions += predictions
        select(
            self.tasks,
            self.scores,
            self.folder / "selection.parquet",
            self.folder / "search/trajectory.parquet",
            self.folder / "search/report.parquet",
            self.folder / "selection.tsv",
            s.search,
        )
        plan = self.folder / "search/tim/plan.json"
        plan_tim(self.tasks, self.scores, plan, s.search, s.tim, s.training, s.split.folds, s.seed, per_job)
        scores, predictions = self.train(plan)
        compute_tim(
            self.tasks,
            [*self.scores, *scores],
            [*self.predictions, *predictions],
            self.labels,
            self.split,
            self.cohort / "samples.parquet",
            self.folder / "tim/tim.parquet",
            s.tim,
            s.seed,
        )

    def finish(self) -> None:
        """Final fits, references, evaluation, the bundle."""
        s = self.study
        plan = self.folder / "search/final/plan.json"
        plan_final(
            self.folder / "selection.parquet",
            self.tasks,
            plan,
            s.evaluation,
            s.search,
            s.tim,
            s.split.folds,
            per_job_of(s.search, None),
        )
        scores, predictions = self.train(plan, final=True)
        references = []
        for task, described in read_json(self.tasks)["tasks"].items():
            if described["problem_class"] == "clustering":
                continue
            references.append(self.folder / f"search/baselines/{task}.parquet")
            run_baselines(
                task,
                self.cohort,
                self.labels,
                self.split,
                references[-1],
                s.modalities,
                s.evaluation,
                s.seed,
                models=self.folder / "final/references" / task,
            )
        evaluate(
            selection=self.folder / "selection.parquet",
            trajectory=self.folder / "search/trajectory.parquet",
            scores=scores,
            predictions=predictions,
            attention=[path.with_name(path.name.replace("scores", "attention")) for path in scores],
            baselines=references,
            search_scores=self.scores,
            search_predictions=self.predictions,
            tasks=self.tasks,
            labels=self.labels,
            split=self.split,
            samples=self.cohort / "samples.parquet",
            out=self.folder / "evaluation",
            evaluation=s.evaluation,
            search=s.search,
            quantiles=s.figures.quantiles,
            seed=s.seed,
        )
        describe_participants(self.cohort, self.labels, self.split, self.folder / "evaluation", io.StringIO())
        measure_performance(
            Performance(
                selection=self.folder / "selection.parquet",
                tasks=self.tasks,
                labels=self.labels,
                split=self.split,
                samples=self.cohort / "samples.parquet",
                scores=scores,
                predictions=predictions,
                baselines=references,
                evaluation=self.folder / "evaluation",
            ),
            s.evaluation,
            s.figures.quantiles,
            s.seed,
            self.folder / "evaluation",
            io.StringIO(),
        )
        latents = [path.with_name(path.name.replace("scores", "latents")) for path in scores]
        phenotypes.phenotype_scores(
            phenotypes.Sources(
                self.cohort,
                self.labels,
                self.tasks,
                self.split,
                self.folder / "selection.parquet",
                scores,
                predictions,
                latents,
            ),
            s.modalities,
            s.evaluation.draws,
            s.seed,
            self.folder / "evaluation/phenotype_scores.parquet",
            self.folder / "evaluation/phenotype_profiles.parquet",
        )
        phenotype_map(
            self.folder / "selection.parquet",
            scores,
            predictions,
            latents,
            self.split,
            self.cohort / "samples.parquet",
            self.folder / "evaluation/phenotypes.parquet",
            s.figures.phenotype_map,
            s.figures.map_samples,
            s.seed,
        )

        missing_scores(
            Sources(
                self.cohort,
                self.labels,
                self.tasks,
                self.split,
                self.folder / "selection.parquet",
                scores,
                sorted((self.folder / "final/models").iterdir()),
            ),
            s.modalities,
            s.evaluation.draws,
            s.seed,
            self.folder / "evaluation/missing.parquet",
            self.folder / "evaluation/reliance.parquet",
            io.StringIO(),
        )

        results = Results(
            cohort=self.cohort,
            labels=self.labels,
            tasks=self.tasks,
            split=self.split,
            selection=self.folder / "selection.parquet",
            scores=scores,
            predictions=predictions,
            models=sorted((self.folder / "final/models").iterdir()),
            baselines=references,
            references=[self.folder / "final/references" / path.stem for path in references],
            evaluation=self.folder / "evaluation",
        )
        export_bundle(
            results,
            self.folder / "bundle",
            io.StringIO(),
            study=s.study,
            seed=s.seed,
            modalities=s.modalities,
            evaluation=s.evaluation,
            purpose=s.bundle,
        )

    def draw(self, names: Sequence[str] = FIGURES) -> None:
        """Figures of the finished study."""
        for name in names:
            render(name, self.folder, self.study.figures, self.folder / "figures")
