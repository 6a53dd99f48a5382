"""The command line: verbs parse their arguments and call one function each.

Verbs import what they need when they are called: a process that writes a plan does not load torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from m3h_pipeline.errors import InputError, M3HError

Verb = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status: 0, or 2 after a message about what the user can mend."""
    options = _parser().parse_args(arguments)
    verb: Verb = options.verb
    log = _tee(options.log) if options.log else None
    try:
        verb(options)
    except M3HError as error:
        sys.stderr.write(f"m3h {options.name}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"m3h {options.name}: interrupted; what is finished stays, run again to go on\n")
        return 130
    except MemoryError:
        sys.stderr.write(f"m3h {options.name}: out of memory; lower `compute.memory_gb` or ask for more\n")
        return 2
    finally:
        if log is not None:
            log.restore()
    return 0


class _Tee:
    """Standard error on the screen and in a log file at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)
        self._screen = sys.stderr
        sys.stderr = self

    def write(self, text: str) -> int:
        self._file.write(text)
        return self._screen.write(text)

    def flush(self) -> None:
        self._file.flush()
        self._screen.flush()

    def isatty(self) -> bool:
        return False

    def restore(self) -> None:
        sys.stderr = self._screen
        self._file.close()


def _tee(path: Path) -> _Tee:
    try:
        return _Tee(path)
    except OSError as error:
        raise SystemExit(f"m3h: cannot write the log {path}: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3h", description="Multimodal multitask learning for clinical outcomes, one verb per stage."
    )
    parser.add_argument("--log", type=Path, help="also write messages to this file")
    verbs = parser.add_subparsers(dest="name", required=True, metavar="VERB")
    for add in (
        _check,
        _fetch_demo,
        _simulate,
        _embed,
        _task_list,
        _ingest,
        _label,
        _split,
        _assess,
        _embed_genes,
        _plan_round,
        _train_pack,
        _merge_scores,
        _select,
        _plan_tim,
        _tim,
        _plan_final,
        _baselines,
        _evaluate,
        _phenotypes,
        _interactions,
        _draw_interactions,
        _plan_variant,
        _compare_variants,
        _draw_variants,
        _figure,
        _record,
        _verify,
    ):
        add(verbs)
    return parser


def _verb(verbs: Any, name: str, run: Verb, text: str, *paths: str, settings: bool = True) -> Any:
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    for path in paths:
        parser.add_argument(f"--{path}", type=Path, required=True, metavar="PATH")
    if settings:
        parser.add_argument(
            "--settings",
            required=True,
            metavar="JSON",
            help="the configuration sections this verb uses, as JSON, or @FILE",
        )
    parser.set_defaults(verb=run)
    return parser


def _sections(options: argparse.Namespace, **kinds: Any) -> dict[str, Any]:
    from m3h_pipeline.config import settings

    text = options.settings
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot read the settings: {error.strerror}", where=text[1:]) from error
    return settings(text, **kinds)


def _seed(options: argparse.Namespace) -> int:
    from m3h_pipeline.config.load import seed_of

    return seed_of(options.settings)


def _many(parser: Any, *names: str, required: bool = True) -> None:
    for name in names:
        parser.add_argument(
            f"--{name}", type=Path, nargs="+" if required else "*", default=[], metavar="PATH"
        )


def _check(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.check import check_study

        check_study(options.configfile, sys.stdout)

    parser = _verb(verbs, "check", run, "validate a study before anything is trained", settings=False)
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), metavar="FILE")


def _fetch_demo(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.mimic.fetch import fetch_demo

        files = fetch_demo(options.folder, **({"url": options.url} if options.url else {}))
        sys.stderr.write(f"{len(files)} files in {options.folder}, as published\n")

    text = "download the open MIMIC-IV demo (100 patients), verified and resumable"
    parser = _verb(verbs, "fetch-demo", run, text, settings=False)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--url", metavar="URL", help="another server that has the release, with its / at the end"
    )


def _simulate(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.synthetic import simulate
        from m3h_pipeline.config import SyntheticSource

        simulate(_sections(options, source=SyntheticSource)["source"], _seed(options), options.output)

    _verb(verbs, "simulate", run, "write the files of a synthetic cohort", "output")


def _embed(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.embedders.tables import embed_source
        from m3h_pipeline.config import Compute, MimicSource

        sections = _sections(options, source=MimicSource, compute=Compute)
        device = sections["compute"].device
        embed_source(sections["source"], options.source, options.store, options.output, device=device)

    parser = _verb(verbs, "embed", run, "embed notes or images by a local model", "store", "output")
    parser.add_argument("--source", required=True, metavar="NAME", help="one of `source.embeddings`")


def _task_list(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.tasks.task_list import ENDINGS, write_definitions

        if options.list.suffix.lower() not in ENDINGS:
            raise InputError("a task list ends in .csv or .tsv", where=str(options.list))
        tasks = write_definitions(options.list, options.clinical, options.output)
        sys.stderr.write(f"{tasks} tasks in {options.output}\n")

    text = "turn a task list into task definitions, classes taken from the clinical file"
    _verb(verbs, "task-list", run, text, "list", "clinical", "output", settings=False)


def _ingest(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.ingest import ingest, render_summary

        summary = ingest(_source(options), options.sources, options.output, embeddings=options.embeddings)
        sys.stderr.write(render_summary(summary) + "\n")

    parser = _verb(verbs, "ingest", run, "bring a source's files into the cohort's form", "output")
    parser.add_argument("--sources", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--simulated", type=Path, metavar="FOLDER", help="files that `m3h simulate` wrote")
    parser.add_argument("--embeddings", type=Path, metavar="FOLDER", help="tables that `m3h embed` wrote")


def _source(options: argparse.Namespace) -> Any:
    import json

    from m3h_pipeline.cohort.synthetic import haim_source
    from m3h_pipeline.config import HaimSource, MimicSource, SyntheticSource, TableSource

    kind = json.loads(options.settings).get("source", {}).get("kind")
    kinds = {"haim": HaimSource, "mimic": MimicSource, "table": TableSource, "synthetic": SyntheticSource}
    model = kinds[kind]
    source = _sections(options, source=model)["source"]
    return haim_source(source, options.simulated) if isinstance(source, SyntheticSource) else source


def _label(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.tasks.definitions import TaskDefinition
        from m3h_pipeline.tasks.labels import label_task

        definition = _sections(options, definition=TaskDefinition)["definition"]
        permute = _seed(options) if options.permute else None
        label_task(options.task, definition, options.cohort, options.output, options.audit, permute)

    parser = _verb(verbs, "label", run, "build one task's labels", "cohort", "output", "audit")
    parser.add_argument("--task", required=True)
    parser.add_argument("--permute", action="store_true", help="shuffle the labels between patients")


def _split(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Split
        from m3h_pipeline.split import split_cohort

        labels = {path.stem: path for path in options.labels}
        split_cohort(options.samples, labels, options.output, _sections(options, split=Split)["split"])

    parser = _verb(verbs, "split", run, "divide patients into parts and folds", "samples", "output")
    _many(parser, "labels", required=False)


def _assess(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import TaskSelection
        from m3h_pipeline.tasks.assess import assess

        assess(
            {path.stem: path for path in options.labels},
            options.split,
            options.samples,
            options.output,
            _sections(options, tasks=TaskSelection)["tasks"],
        )

    parser = _verb(verbs, "assess", run, "list tasks that can be evaluated", "split", "samples", "output")
    _many(parser, "labels")


def _sized(options: argparse.Namespace, search: Any, training: Any, split: Any) -> Any:
    """How many combinations a job trains, from the shape of the study; None if given or unknown."""
    if options.summary is None or search.combinations_per_job is not None:
        return None
    from functools import partial

    from m3h_pipeline.config import Compute, Model
    from m3h_pipeline.config.load import modalities_of
    from m3h_pipeline.files import read_json
    from m3h_pipeline.search.sizing import combinations_per_job, study_of

    s = _sections(options, model=Model, compute=Compute)
    study = study_of(
        read_json(options.summary),
        read_json(options.tasks),
        modalities_of(options.settings),
        s["model"],
        training,
        s["compute"],
        split,
    )
    return partial(combinations_per_job, study)


def _summary(parser: Any) -> None:
    parser.add_argument(
        "--summary", type=Path, metavar="PATH", help="cohort/summary.json, to size packs where none is given"
    )


def _plan_round(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search, Split, Tim, Training
        from m3h_pipeline.search.plan import plan_round

        s = _sections(options, search=Search, tim=Tim, training=Training, split=Split)
        plan_round(
            options.round,
            options.tasks,
            options.scores,
            options.output,
            s["search"],
            s["tim"],
            s["training"],
            s["split"].folds,
            _sized(options, s["search"], s["training"], s["split"]),
        )

    parser = _verb(verbs, "plan-round", run, "plan a search round", "tasks", "output")
    _summary(parser)
    parser.add_argument("--round", type=int, required=True)
    _many(parser, "scores", required=False)


def _embed_genes(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.gene_embeddings import embed_genes
        from m3h_pipeline.config import Modality

        modality = _sections(options, modality=Modality)["modality"]
        embed_genes(modality, options.cohort, options.split, _seed(options), options.output, sys.stderr)

    text = "vectors that a transformer's genes start from"
    _verb(verbs, "embed-genes", run, text, "cohort", "split", "output")


def _train_pack(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Compute, Modality, Model, Training
        from m3h_pipeline.config.load import modalities_of
        from m3h_pipeline.training.fits import TrainingSettings
        from m3h_pipeline.training.pack import train_pack

        s = _sections(options, model=Model, training=Training, compute=Compute)
        modalities: dict[str, Modality] = modalities_of(options.settings)
        train_pack(
            options.plan,
            options.pack,
            options.cohort,
            options.labels,
            options.split,
            options.store,
            options.scores,
            options.predictions,
            TrainingSettings(**s, modalities=modalities, seed=_seed(options)),
            models=options.models,
            attention=options.attention,
            latents=options.latents,
            genes=options.genes,
        )

    parser = _verb(
        verbs,
        "train-pack",
        run,
        "train the combinations of one pack",
        *("plan", "cohort", "labels", "split", "store", "scores", "predictions"),
    )
    parser.add_argument("--pack", required=True)
    parser.add_argument("--genes", type=Path, metavar="PATH", help="vectors that genes start from")
    for name in ("models", "attention", "latents"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help="final fits only")


def _merge_scores(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.search.scores import merge_scores

        merge_scores(options.scores, options.output)

    parser = _verb(verbs, "merge-scores", run, "join the packs' scores", "output", settings=False)
    _many(parser, "scores", required=False)


def _select(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search
        from m3h_pipeline.search.selection import select

        search = _sections(options, search=Search)["search"]
        select(options.tasks, options.scores, options.output, options.trajectory, options.summary, search)

    paths = ("tasks", "output", "trajectory", "summary")
    parser = _verb(verbs, "select", run, "choose each task's combination", *paths)
    _many(parser, "scores")


def _plan_tim(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search, Split, Tim, Training
        from m3h_pipeline.tim.plan import plan_tim

        s = _sections(options, search=Search, tim=Tim, training=Training, split=Split)
        plan_tim(
            options.tasks,
            options.scores,
            options.output,
            s["search"],
            s["tim"],
            s["training"],
            s["split"].folds,
            _seed(options),
            _sized(options, s["search"], s["training"], s["split"]),
        )

    parser = _verb(verbs, "plan-tim", run, "plan the fits TIM needs beyond the search", "tasks", "output")
    _summary(parser)
    _many(parser, "scores")


def _tim(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Tim
        from m3h_pipeline.tim.estimate import compute_tim

        compute_tim(
            options.tasks,
            options.scores,
            options.predictions,
            options.labels,
            options.split,
            options.samples,
            options.output,
            _sections(options, tim=Tim)["tim"],
            _seed(options),
        )

    parser = _verb(
        verbs, "tim", run, "measure task interaction", "tasks", "labels", "split", "samples", "output"
    )
    _many(parser, "scores", "predictions")


def _plan_final(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation, Search, Split, Training
        from m3h_pipeline.evaluation.final import plan_final
        from m3h_pipeline.search.combinations import per_job_of

        s = _sections(options, evaluation=Evaluation, search=Search, training=Training, split=Split)
        plan_final(
            options.selection,
            options.tasks,
            options.output,
            s["evaluation"],
            per_job_of(s["search"], _sized(options, s["search"], s["training"], s["split"])),
        )

    _summary(_verb(verbs, "plan-final", run, "plan the final fits", "selection", "tasks", "output"))


def _baselines(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation
        from m3h_pipeline.config.load import modalities_of
        from m3h_pipeline.evaluation.baselines import run_baselines

        run_baselines(
            options.task,
            options.cohort,
            options.labels,
            options.split,
            options.output,
            modalities_of(options.settings),
            _sections(options, evaluation=Evaluation)["evaluation"],
            _seed(options),
        )

    parser = _verb(verbs, "baselines", run, "fit the reference models", "cohort", "labels", "split", "output")
    parser.add_argument("--task", required=True)


def _evaluate(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation, Figures, Search
        from m3h_pipeline.evaluation.evaluate import evaluate

        s = _sections(options, evaluation=Evaluation, search=Search, figures=Figures)
        evaluate(
            selection=options.selection,
            trajectory=options.trajectory,
            scores=options.scores,
            predictions=options.predictions,
            attention=options.attention,
            baselines=options.baselines,
            search_scores=options.search_scores,
            search_predictions=options.search_predictions,
            tasks=options.tasks,
            labels=options.labels,
            split=options.split,
            samples=options.samples,
            out=options.output,
            evaluation=s["evaluation"],
            search=s["search"],
            quantiles=s["figures"].quantiles,
            seed=_seed(options),
        )

    parser = _verb(
        verbs,
        "evaluate",
        run,
        "compare the models on the test part",
        *("selection", "trajectory", "tasks", "labels", "split", "samples", "output"),
    )
    _many(parser, "scores", "predictions", "attention", "search-scores", "search-predictions")
    _many(parser, "baselines", required=False)


def _phenotypes(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Figures
        from m3h_pipeline.evaluation.phenotypes import phenotype_map

        figures = _sections(options, figures=Figures)["figures"]
        phenotype_map(
            options.selection,
            options.scores,
            options.predictions,
            options.latents,
            options.output,
            figures.umap_samples,
            _seed(options),
        )

    parser = _verb(verbs, "phenotypes", run, "map the phenotypes", "selection", "output")
    _many(parser, "scores", "predictions", "latents")


def _interactions(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Interactions
        from m3h_pipeline.config.load import modalities_of
        from m3h_pipeline.interactions.stage import Sources, find_interactions

        settings = _sections(options, interactions=Interactions)["interactions"]
        sources = Sources(
            options.cohort,
            options.labels,
            options.split,
            options.selection,
            options.scores,
            options.models,
        )
        modalities = modalities_of(options.settings)
        seed = _seed(options)
        find_interactions(options.task, sources, modalities, settings, seed, options.output, sys.stderr)

    text = "what a task's final models say about pairs of genes"
    parser = _verb(verbs, "interactions", run, text, "cohort", "labels", "split", "selection", "output")
    parser.add_argument("--task", required=True)
    _many(parser, "scores", "models")


def _draw_interactions(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Figures, Interactions
        from m3h_pipeline.figures.interactions import draw_interactions

        s = _sections(options, figures=Figures, interactions=Interactions)
        draw_interactions(options.task, options.tasks, options.folder, s["interactions"], s["figures"])

    text = "draw a task's pairs of genes"
    parser = _verb(verbs, "draw-interactions", run, text, "tasks", "folder")
    parser.add_argument("--task", required=True)


def _plan_variant(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search, Split, Training, Variants
        from m3h_pipeline.search.combinations import per_job_of
        from m3h_pipeline.variants.plan import plan_variant

        s = _sections(options, variants=Variants, search=Search, training=Training, split=Split)
        plan_variant(
            options.tasks,
            options.output,
            s["variants"],
            s["training"],
            s["split"].folds,
            per_job_of(s["search"], _sized(options, s["search"], s["training"], s["split"])),
        )

    _summary(_verb(verbs, "plan-variant", run, "plan the fits of one compared network", "tasks", "output"))


def _compare_variants(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation
        from m3h_pipeline.variants.compare import compare_variants

        compare_variants(
            {folder.name: folder for folder in options.networks},
            options.baselines,
            options.tasks,
            options.labels,
            options.split,
            options.samples,
            options.output,
            _sections(options, evaluation=Evaluation)["evaluation"].draws,
            _seed(options),
        )

    parser = _verb(
        verbs,
        "compare-variants",
        run,
        "compare networks with each other and with the references",
        *("tasks", "labels", "split", "samples", "output"),
    )
    parser.add_argument(
        "--networks",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="one folder with packs/ each, named like the network; the study's own first",
    )
    _many(parser, "baselines", required=False)


def _draw_variants(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Figures
        from m3h_pipeline.figures.variants import draw_variants

        figures = _sections(options, figures=Figures)["figures"]
        draw_variants(options.comparison, options.tasks, options.output, figures)

    text = "draw the comparison of networks"
    _verb(verbs, "draw-variants", run, text, "comparison", "tasks", "output")


def _figure(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Figures
        from m3h_pipeline.figures.registry import render

        figures = _sections(options, figures=Figures)["figures"]
        render(options.figure, options.study, figures, options.output)

    parser = _verb(verbs, "figure", run, "render one figure", "study", "output")
    parser.add_argument("--figure", required=True, metavar="NAME")


def _record(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        import json

        from m3h_pipeline.config import Study
        from m3h_pipeline.record import record

        study = _sections(options, study=Study)["study"]
        more = json.loads(options.settings)
        record(options.study, study, more["inputs"], more["definitions"], options.output)

    _verb(verbs, "record", run, "write the record of a finished study", "study", "output")


def _verify(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.verify import verify

        verify(options.results, options.fits, options.seed, options.data, options.tolerance)

    parser = _verb(verbs, "verify", run, "compare a study with its record", settings=False)
    parser.add_argument("results", type=Path, metavar="FOLDER", help="results/<study>")
    parser.add_argument("--fits", type=int, default=3, metavar="N", help="fits to train again (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other fits")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where the inputs lie, if not as configured"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.02,
        help="largest difference of a score on another device or with other versions (default: 0.02)",
    )


if __name__ == "__main__":
    sys.exit(main())
