"""Why a bundle says what it says of a sample: attention between tasks, and what each source contributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.crossed import crossed
from m3h_pipeline.bundle.load import Bundle, Features, Floats, Prediction
from m3h_pipeline.bundle.schema import TaskModel

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
#: With more sources than this, what a modality contributes is computed: each doubles the work.
MOST_SOURCES: Final = 6
#: Samples times subsets that are predicted at a time, and numbers of features of them.
_PAIRS, _NUMBERS = 8192, 16_000_000
#: A probability is taken to be no nearer to 0 or 1 than this.
_EDGE: Final = 1e-9


def attention(bundle: Bundle, features: Features, tasks: Sequence[str]) -> dict[str, Float64]:
    """How much each task's prediction attends to the tasks that its network learned with it.

    Args:
        bundle: whose networks.
        features: of n samples, as :meth:`Bundle.predict_features` takes them.
        tasks: which; those that no network predicts have none.

    Returns:
        ``TASK.attention.OTHER`` -> (n,) the mean over the network's replicates; of a task they sum to 1.
    """
    found: dict[str, Float64] = {}
    weights: dict[str, dict[tuple[str, str], Float64]] = {}
    for name in tasks:
        task = bundle.tasks[name]
        one = task.candidates[task.chosen]
        if one.kind != "network":
            continue
        said = []
        for file in one.files:
            if file not in weights:
                weights[file] = bundle.attention_of(file, features)
            said.append(weights[file])
        for other in one.tasks:
            found[f"{name}.attention.{other}"] = np.mean([w[other, name] for w in said], axis=0)
    return found


def players(bundle: Bundle) -> dict[str, list[str]]:
    """What contributions are of: the sources, or the modalities where there are many sources."""
    modalities = bundle.description.modalities
    if len(bundle.sources) <= MOST_SOURCES:
        return {name: [name] for name in bundle.sources}
    return {name: list(sources) for name, sources in modalities.items()}


def silent(bundle: Bundle, tasks: Sequence[str]) -> str:
    """Which of the tasks have no attention and why: a line for the screen; empty if all have one."""
    kinds: dict[str, list[str]] = {}
    for name in tasks:
        task = bundle.tasks[name]
        kinds.setdefault(task.candidates[task.chosen].kind, []).append(name)
    words = {"reference": "a reference model", "blend": "a blend of models"}
    why = [f"{', '.join(kinds[kind])} (predicted by {words[kind]})" for kind in words if kind in kinds]
    return f"no attention, which networks alone have: {'; '.join(why)}\n" if why else ""


def cost(bundle: Bundle) -> str:
    """What contributions are of, and what they take: a line for the screen."""
    many = len(bundle.sources) > MOST_SOURCES
    what = f"{'modality' if many else 'source'}, {len(players(bundle))} in all"
    more = f" (of single sources where there are at most {MOST_SOURCES})" if many else ""
    times = 1 << len(players(bundle))
    return (
        f"contributions of each {what}{more}: each sample is predicted up to {times:,} times, "
        "twice as often with each that it has\n"
    )


def contributions(
    bundle: Bundle,
    features: Features,
    tasks: Sequence[str],
    told: Callable[[int], None] | None = None,
) -> dict[str, Float64]:
    """Exact Shapley values of the sources (:func:`players`) in what is said of each sample.

    A source that is taken away is missing, as the model was trained to meet it: its values become the
    training part's centre, and where a whole modality is gone, what the network learned for its absence.

    A sample is predicted once for each subset of what it has, at most 2^k times of k players; each state of a
    modality is encoded once, and a model is not asked again for subsets that differ in what it does not read.

    Args:
        bundle: what predicts.
        features: of n samples.
        tasks: which; clustering tasks have none.
        told: called with how many samples are done since the last call.

    Returns:
        ``TASK.contribution.SOURCE`` -> (n,), and ``TASK.contribution.`` with the name ``nothing`` for what is
        said where every source is missing; together they sum to what is said: the calibrated log odds of a
        binary task and of the likeliest of several classes, the calibrated value, the log hazard.
    """
    kept = [name for name in tasks if bundle.tasks[name].problem_class != "clustering"]
    names = list(players(bundle))
    company = [name for name in kept if not bundle.tasks[name].candidates[bundle.tasks[name].chosen].alone]
    alone = [name for name in kept if name not in company]
    whole, n = bundle.checked(features)
    found = {name: np.zeros((n, len(names) + 1)) for name in kept}
    for name, values in enumerated(bundle, whole, company).items():
        found[name] = _shapley(values)
    width = sum(map(len, bundle.sources.values())) << len(names)
    size = max(1, min(_PAIRS >> len(names), _NUMBERS // max(1, width)))
    for a in range(0, n, size):
        part = slice(a, a + size)
        chunk = {source: x[part] for source, x in whole.items()}
        for name, values in _by_subset(bundle, chunk, alone).items():
            found[name][part] = _shapley(values)
        if told is not None:
            told(len(range(a, min(n, a + size))))
    return {
        f"{name}.contribution.{what}": values[:, i]
        for name, values in found.items()
        for i, what in enumerate([*names, "nothing"])
    }


def enumerated(bundle: Bundle, features: Features, tasks: Sequence[str]) -> dict[str, Float64]:
    """What is said where only some players are there, all samples predicted together for each subset.

    It takes 2^k whole predictions. Only tasks whose predictions depend on the other samples need it.

    Args:
        bundle: what predicts.
        features: of n samples, of every source.
        tasks: which.

    Returns:
        Task -> (n, 2^k), the subset of column ``mask`` being the players whose bits are set in it.
    """
    if not tasks:
        return {}
    parts = list(players(bundle).values())
    said: dict[int, dict[str, Prediction]] = {}
    found: dict[str, list[Float64]] = {name: [] for name in tasks}
    last = (1 << len(parts)) - 1
    for mask in (last, *range(last)):
        there = {source for i, sources in enumerate(parts) if mask >> i & 1 for source in sources}
        some = {
            source: x if x is None or source in there else np.full_like(x, np.nan)
            for source, x in features.items()
        }
        said[mask] = bundle.predict_features(some, tasks)
        for name in tasks:
            which = _likeliest(bundle.tasks[name], said[last][name])
            found[name].append(_value(bundle.tasks[name], said[mask][name], which))
        if mask != last:
            del said[mask]
    return {name: np.stack([*values[1:], values[0]], axis=1) for name, values in found.items()}


def _by_subset(bundle: Bundle, features: Mapping[str, Floats], tasks: Sequence[str]) -> dict[str, Float64]:
    """The same as :func:`enumerated` of tasks whose predictions depend on the sample alone."""
    if not tasks:
        return {}
    parts = list(players(bundle).values())
    every = np.arange(1 << len(parts))
    # What a sample lacks changes nothing where it is taken away.
    has = [np.any([~np.isnan(features[s]).all(1) for s in sources], axis=0) for sources in parts]
    own = np.sum([here.astype(np.int64) << i for i, here in enumerate(has)], axis=0)
    row, mask = np.nonzero((every & ~own[:, None]) == 0)
    place = np.zeros((len(own), len(every)), dtype=np.int64)
    place[row, mask] = np.arange(len(row))
    at = np.take_along_axis(place, every & own[:, None], axis=1)
    said = bundle.predictions(_Subsets(bundle, features, row, mask), tasks)
    found = {}
    for name in tasks:
        task = bundle.tasks[name]
        which = _likeliest(task, said[name])
        # Of the likeliest class of the whole sample.
        which = None if which is None else which[at[row, -1]]
        found[name] = _value(task, said[name], which)[at]
    return found


class _Subsets:
    """What models say of samples of which some players are taken away; see :class:`Models`.

    Args:
        bundle: whose models; none depends on other samples.
        features: of every source, (samples, F).
        row: (n,) the sample.
        mask: (n,) which players are left, by their bits.
    """

    def __init__(self, bundle: Bundle, features: Mapping[str, Floats], row: Index, mask: Index) -> None:
        self.n = len(row)
        self._bundle, self._features, self._row, self._mask = bundle, features, row, mask
        parts = list(players(bundle).values())
        self._bit = {source: 1 << i for i, sources in enumerate(parts) for source in sources}
        self._shift = len(parts)
        self._networks: dict[str, dict[str, Float64]] = {}

    def network(self, file: str) -> dict[str, Float64]:
        if file not in self._networks:
            fitted = self._bundle.network(file)
            known = self._bundle.description.modalities
            row, mask, back = self._distinct([s for name in fitted.modalities for s in known[name]])
            features, rows = {}, {}
            for name in fitted.modalities:
                bits = self._bits(known[name])
                # Without any of its sources a modality is the same of every sample.
                state = np.where(mask & bits, row << self._shift | mask & bits, 0)
                _, first, rows[name] = np.unique(state, return_index=True, return_inverse=True)
                own = [self._shown(source, row[first], mask[first]) for source in known[name]]
                features[name] = np.concatenate(own, axis=1)
            said = crossed(fitted, features, rows)
            self._networks[file] = {task: values.astype(np.float64)[back] for task, values in said.items()}
        return self._networks[file]

    def reference(self, file: str) -> Float64:
        kept = self._bundle.reference(file)
        row, mask, back = self._distinct(kept.sources)
        # A constant reads nothing, and is still told how many rows there are.
        sources = kept.sources or [next(iter(self._features))]
        return kept.predict({source: self._shown(source, row, mask) for source in sources})[back]

    def _bits(self, sources: Iterable[str]) -> int:
        found = 0
        for source in sources:
            found |= self._bit[source]
        return found

    def _distinct(self, sources: Iterable[str]) -> tuple[Index, Index, Index]:
        """Samples and masks that differ in these sources, and which of them each row is."""
        key = self._row << self._shift | self._mask & self._bits(sources)
        found, back = np.unique(key, return_inverse=True)
        return found >> self._shift, found & (1 << self._shift) - 1, back

    def _shown(self, source: str, row: Index, mask: Index) -> Floats:
        x = self._features[source][row]
        x[mask & self._bit[source] == 0] = np.nan
        return x


def _shapley(values: Float64) -> Float64:
    """Shapley values of k players, and what is said of none of them, (n, k + 1).

    Args:
        values: (n, 2^k) as :func:`enumerated` returns them.
    """
    masks = np.arange(values.shape[1])
    count = values.shape[1].bit_length() - 1
    found = np.zeros((len(values), count + 1))
    for i in range(count):
        without = masks[masks >> i & 1 == 0]
        sizes = [int(mask).bit_count() for mask in without]
        share = [math.factorial(k) * math.factorial(count - k - 1) / math.factorial(count) for k in sizes]
        found[:, i] = (values[:, without | 1 << i] - values[:, without]) @ np.array(share)
    found[:, count] = values[:, 0]
    return found


def _likeliest(task: TaskModel, said: Prediction) -> Index | None:
    """(n,) the likeliest of several classes; None of other tasks."""
    return said.calibrated.argmax(1) if task.problem_class == "multiclass" else None


def _value(task: TaskModel, said: Prediction, which: npt.NDArray[Any] | None) -> Float64:
    if task.problem_class == "survival":
        return said.raw[:, 0]
    if task.problem_class == "regression":
        return said.calibrated[:, 0]
    p = said.calibrated[:, 0] if which is None else said.calibrated[np.arange(len(which)), which]
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)
