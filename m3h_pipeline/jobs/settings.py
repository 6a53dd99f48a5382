"""What each job is told of the study: the JSON of its verb's ``--settings``.

Jobs are told what their verb reads and no more, so that another value beside it does not run them again.
Mappings whose order has no meaning are sorted in a section (``config.base.ByName``), so that two studies that
differ in such an order run the same jobs; those whose order has one travel as lists (``InOrder``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from m3h_pipeline.cohort.synthetic.structure import planted_noise
from m3h_pipeline.config import Study, located_source
from m3h_pipeline.config.networks import networks
from m3h_pipeline.config.paths import located_gene_pairs, located_modality
from m3h_pipeline.dotted import is_path, source_digest
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.hashes import digest_of
from m3h_pipeline.tasks.definitions import TaskDefinition

#: What the number of combinations in a pack follows from, where the study leaves it open.
_SIZED = (
    "modalities",
    *(f"model.{key}" for key in ("encoder", "projection", "shared", "task", "decoder", "survival")),
    *(f"compute.{key}" for key in ("device", "precision", "threads")),
    *(f"training.{key}" for key in ("epochs", "update", "contrastive_weight")),
    *(f"training.{key}" for key in ("batch_sizes", "learning_rates")),
    *(f"split.{key}" for key in ("folds", "test_fraction")),
)
#: What sizes follow from, where the study leaves some to its shape.
_SHAPED = ("training.sizes", "modalities", "split.folds", "split.test_fraction")
#: What a plan of cross-validated fits says of each of them.
_CROSSED = ("training.batch_sizes", "training.learning_rates", "split.folds")

#: Jobs that are told everything, and run whenever anything does.
WHOLE = frozenset({"record", "report_page"})

#: What a larger combination must gain, and what else decides which are trained.
_GAIN = ("search.min_improvement", "search.standard_errors")
_PREFERRED = ("search.beam", "search.race", *_GAIN)


class JobSettings:
    """The settings of every job of a study, one method per verb.

    Args:
        study: its configuration.
        tasks: task -> definition.
    """

    def __init__(self, study: Study, tasks: Mapping[str, TaskDefinition]) -> None:
        self._study, self._tasks = study, tasks
        self._contents: dict[int, dict[str, Any]] = {}

    def simulate(self) -> str:
        """For the files of a synthetic cohort."""
        return self._chosen("source", "seed")

    def embed(self) -> str:
        """For the vectors of notes or images."""
        return self._chosen("source", "compute.device")

    def ingest(self) -> str:
        """For the cohort."""
        return self._chosen("source")

    def label(self, task: str) -> str:
        """For one task's labels; the seed only where they are permuted."""
        definition = self._tasks[task].model_dump(mode="json", exclude_none=True)
        seed = ["seed"] if task in self._study.tasks.permute else []
        own = own_code([self._tasks[task].criterion.kind])
        return self._chosen(*seed, definition=definition, **own)

    def split(self) -> str:
        """For parts and folds."""
        return self._chosen("split")

    def assess(self) -> str:
        """For the list of tasks that can be evaluated."""
        noise = planted_noise(self._study.source)
        return self._chosen("tasks.min_per_fold", "tasks.unevaluable", noise=noise)

    def embed_genes(self, modality: str) -> str:
        """For the vectors that a modality's genes start from."""
        return self._chosen("seed", modality=_json(located_modality(self._study, modality)))

    def plan_round(self, number: int | str) -> str:
        """For the plan of a round: single tasks and pairs are trained whatever the search prefers."""
        preferred = _PREFERRED if int(number) > 2 else ()
        sizes = ("search.max_size", "search.replicates", "search.halving")
        names = (*sizes, *preferred, "tim.mode", "tim.replicates")
        return self._plan(*names, *_CROSSED)

    def train(self, network: str | None = None) -> str:
        """For a pack of the study's own network, or of one it is compared with.

        The plan says which batch sizes and learning rates to train. Options left to a default are told.
        """
        study = self._network(network)
        modalities = {
            # A width that follows from the study's shape is not known yet.
            name: _json(modality.resolved(study.model))
            | ({"hidden": modality.hidden} if "encoder" in study.training.sizes else {})
            for name, modality in sorted(study.modalities.items())
        }
        training = study.training.model_dump(mode="json", exclude={"batch_sizes", "learning_rates"})
        networks = [study.model.task_network, *(spec.encoder for spec in study.modalities.values())]
        classes = [task.own_class for task in self._tasks.values() if task.own_class]
        own = own_code([*networks, *classes, *self._metrics])
        more: dict[str, Any] = {"modalities": modalities, **own}
        if study.training.sizes:
            # Those whose number of steps follows from them are told, too.
            more["split"] = {key: getattr(study.split, key) for key in ("folds", "test_fraction")}
            training["batch_sizes"] = study.training.batch_sizes
        return self._chosen("model", "compute", "seed", of=study, training=training, **more)

    def select(self) -> str:
        """For the choice of each task's combination."""
        return self._chosen("search.max_size", "search.replicates", *_PREFERRED)

    def plan_tim(self) -> str:
        """For the plan of what task interaction needs beyond the search."""
        return self._plan(
            *("tim.mode", "tim.controls", "tim.replicates", "tim.sets", "tim.max_size"),
            *("seed", "search.halving", *_CROSSED),
        )

    def tim(self) -> str:
        """For task interaction."""
        return self._chosen("tim", "seed", **own_code(self._metrics))

    def plan_final(self) -> str:
        """For the plan of the final fits."""
        names = ("evaluation.replicates", "search.replicates", "tim.replicates", "split.folds")
        return self._plan(*names)

    def baselines(self, task: str) -> str:
        """For the reference models of a task, which know sources and no encoder."""
        sources = {name: {"sources": spec.sources} for name, spec in self._study.modalities.items()}
        given = {
            name: {task: _json(tasks[task])}
            for name, tasks in self._study.evaluation.given.items()
            if task in tasks
        }
        evaluation = {
            "baselines": self._study.evaluation.baselines,
            "clinical": self._study.evaluation.clinical,
            "given": given,
        }
        return self._chosen("seed", evaluation=evaluation, modalities=sources, **own_code(self._metrics))

    def evaluate(self) -> str:
        """For the comparison on the test part."""
        names = (*(f"evaluation.{key}" for key in ("draws", "blend", "fdr")), "figures.quantiles", *_GAIN)
        return self._chosen(*names, "seed", **own_code(self._metrics))

    def phenotypes(self) -> str:
        """For the map of the phenotypes, and what they are worth."""
        sources = {name: {"sources": spec.sources} for name, spec in self._study.modalities.items()}
        names = ("evaluation.draws", "figures.phenotype_map", "figures.map_samples")
        return self._chosen(*names, "seed", modalities=sources)

    def missing(self) -> str:
        """For the scores where modalities are hidden; encoders stand in the final models."""
        sources = {name: {"sources": spec.sources} for name, spec in self._study.modalities.items()}
        own = own_code(self._metrics)
        return self._chosen("evaluation.draws", "seed", modalities=sources, **own)

    def performance(self) -> str:
        """For what the candidates do beyond their score."""
        names = ("draws", "blend", "thresholds", "horizons")
        keys = (f"evaluation.{name}" for name in names)
        return self._chosen(*keys, "figures.quantiles", "seed", **own_code(self._metrics))

    def export_bundle(self) -> str:
        """For the bundle; encoders stand in the final models."""
        sources = {name: {"sources": spec.sources} for name, spec in self._study.modalities.items()}
        names = ("study", "bundle", *(f"evaluation.{name}" for name in ("draws", "blend", "thresholds")))
        return self._chosen(*names, "seed", modalities=sources, **own_code(self._metrics))

    def gene_pairs(self) -> str:
        """For pairs of genes in a task's final models."""
        located = located_gene_pairs(self._study)
        return self._chosen("modalities", "seed", gene_pairs=located and _json(located))

    def draw_gene_pairs(self) -> str:
        """For the figures of pairs of genes."""
        return self._chosen("figures.formats", "gene_pairs")

    def plan_network(self, network: str) -> str:
        """For the plan of one compared network."""
        names = ("networks.replicates", "networks.alone", *_CROSSED)
        return self._plan(*names, of=self._network(network))

    def compare_networks(self) -> str:
        """For the comparison of networks."""
        return self._chosen("evaluation.draws", "seed", **own_code(self._metrics))

    def draw_networks(self) -> str:
        """For the figure of compared networks."""
        return self._chosen("figures.formats")

    def figure(self, name: str) -> str:
        """For one figure."""
        return self._chosen(*(f"figures.{key}" for key in FIGURES[name].settings))

    def record(self, inputs: Mapping[str, Any]) -> str:
        """For the record: all of the study, and the digests of what it was made from.

        Args:
            inputs: name -> size and digest of the inputs (``hashes.hashed``).
        """
        definitions = {
            name: digest_of(task.model_dump(mode="json", exclude_none=True))
            for name, task in self._tasks.items()
        }
        content = {"study": _json(self._study), "inputs": dict(inputs), "definitions": definitions}
        return json.dumps(content)

    @cached_property
    def _metrics(self) -> list[str]:
        return [task.metric for task in self._tasks.values()]

    @cached_property
    def _networks(self) -> dict[str, Study]:
        return networks(self._study)

    def _network(self, name: str | None) -> Study:
        return self._study if name is None else self._networks[name]

    def _content(self, study: Study) -> dict[str, Any]:
        """All that jobs may be told of the study, or of one with the sections of a compared network."""
        if id(study) not in self._contents:
            # The section that compared networks stand in is the study's; sources lie where the study says.
            own = {"networks": _json(self._study)["networks"], "source": _json(located_source(self._study))}
            self._contents[id(study)] = _json(study) | own
        return self._contents[id(study)]

    def _plan(self, *names: str, of: Study | None = None) -> str:
        open_size = self._study.search.combinations_per_job is None
        shaped = _SHAPED if (of or self._study).training.sizes else ()
        sized = _SIZED if open_size else ()
        return self._chosen("search.combinations_per_job", *names, *sized, *shaped, of=of)

    def _chosen(self, *names: str, of: Study | None = None, **more: Any) -> str:
        """The named sections (``seed``) and keys (``search.beam``), and ``more``, as JSON.

        Args:
            names: sections and keys.
            of: the study with the sections of a compared network in the place of its own.
            more: further entries.
        """
        content = self._content(of or self._study)
        chosen: dict[str, Any] = {}
        for name in names:
            section, _, key = name.partition(".")
            if key:
                chosen.setdefault(section, {})[key] = content[section][key]
            else:
                chosen[section] = content[section]
        return json.dumps(chosen | more)


def own_code(names: Iterable[str]) -> dict[str, Any]:
    """Digests of what is named by dotted path, as an entry that no verb reads: an edit runs the job again.

    Args:
        names: shipped names and dotted paths.

    Raises:
        ConfigError: a dotted path leads nowhere.
    """
    found = {name: source_digest(name) for name in sorted(set(names)) if is_path(name)}
    return {"own_code": found} if found else {}


def _json(section: Any) -> dict[str, Any]:
    content: dict[str, Any] = section.model_dump(mode="json")
    return content
