"""How well what a synthetic cohort plants can be predicted at all, from the generator's truth.

``python -m tests.cohort.synthetic.reach`` measures on a large cohort and writes the tables of
``docs/planted.md`` (some minutes on one core).
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from m3h_pipeline.cohort.synthetic.embeddings import scaled
from m3h_pipeline.cohort.synthetic.hospital import Hospital
from m3h_pipeline.cohort.synthetic.planted import FeatureModel, draw_outcomes, draw_people
from m3h_pipeline.cohort.synthetic.structure import MORTALITY, STAY, THORACIC_TASK, structure_of
from m3h_pipeline.config import SyntheticSource
from tests.conftest import ROOT

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

PAGE = ROOT / "docs/planted.md"
#: Rows of the training part of the default study.
STUDY_ROWS = 1_900
#: Shape -> how the table names it.
SHAPES = {"product": "times {}", "u_shape": "U of {}", "exclusive_or": "exclusive-or with {}"}


class Cohort:
    """A drawn cohort with its truth, one row per sample.

    The first half of the rows is for training, the rest for scoring; at most one patient is in both.
    """

    def __init__(
        self, which: Literal["default", "all"], samples: int, strength: float = 1.0, seed: int = 4
    ) -> None:
        settings = SyntheticSource()
        self.structure = structure_of(which, strength)
        self.people = draw_people(samples, settings.samples_per_patient, np.random.default_rng([seed, 10]))
        self.outcomes = draw_outcomes(self.structure, self.people, np.random.default_rng([seed, 11]))
        self.half = samples // 2
        model = FeatureModel(self.structure, settings.widths, settings.signal, seed)
        plain = {
            source: model.draw(source, self.people, self.outcomes, 0, samples)
            for source in settings.widths
            if source != "demographics"
        }
        rows = self.people.row_patient
        hospital = Hospital(self.people, self.outcomes, seed)
        #: What a study reads: each source as it is written, and age and sex among the demographics.
        self.features = np.hstack(
            [hospital.demographics[rows], *(scaled(source, x, seed) for source, x in plain.items())]
        )
        self._plain = np.hstack([*plain.values(), hospital.demographics[rows][:, :2]])

    def tasks(self, least: float) -> list[str]:
        """Tasks of one planted factor that are binary, with at least this share of positives."""
        return [
            task
            for task in self.structure.factor_of
            if task not in (STAY, THORACIC_TASK, "hospital_acquired_infection")
            and self.structure.outcomes[task].prevalence >= least
        ]

    def labels(self, task: str) -> BoolArray:
        """Whether each sample is positive, (n,)."""
        if task == MORTALITY:
            return np.asarray(self.outcomes.death[self.people.row_admission] & (self.outcomes.hours < 48))
        return np.asarray(self.outcomes.diagnoses[task][self.people.row_admission])

    def _risk(self, task: str, factor: FloatArray, modifier: FloatArray | None) -> FloatArray:
        """The log odds but for the intercept. Written out again: the generator is what is examined."""
        slope = self.structure.outcomes[task].slope
        planted = self.structure.interactions.get(task)
        if planted is None or modifier is None:
            return slope * factor
        term = {
            "product": factor * modifier,
            "u_shape": (modifier * modifier - 1) / 2**0.5,
            "exclusive_or": np.where((factor > 0) == (modifier > 0), 1.0, -1.0),
        }[planted.shape]
        return np.asarray(slope * (factor + planted.weight * term))

    def _estimated(self, latent: FloatArray) -> tuple[FloatArray, float]:
        """The best estimate of a latent value from the features, (n,), and the deviation of what is left."""
        fitted = LinearRegression().fit(self._plain[: self.half], latent[: self.half])
        found = fitted.predict(self._plain)
        return found, float(np.std(latent[: self.half] - found[: self.half]))

    def evidence(self, task: str) -> tuple[FloatArray, FloatArray]:
        """What the features say of a task: the best linear summary, and the best prediction there is.

        The prediction is the risk in the mean of all that the factor and the modifier may be, given the
        features: by quadrature over their normal errors.

        Returns:
            (n, 1 or 2) the factor and the modifier as estimated; (n,) the risk.
        """
        row = self.people.row_admission
        factor = self.outcomes.factors[row, self.structure.factor_of[task]]
        planted = self.structure.interactions.get(task)
        modifier = None if planted is None else self.outcomes.modifiers[planted.modifier][row]
        risk = self._risk(task, factor, modifier)
        prevalence = self.labels(task).mean()
        cut = brentq(lambda t: float(expit(risk - t).mean()) - prevalence, -50, 50)
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        certain = (np.zeros(1), np.ones(1))
        seen, error = self._estimated(factor)
        also, noise = (np.zeros_like(factor), 0.0) if modifier is None else self._estimated(modifier)
        best = np.zeros_like(factor)
        # Age and sex are read as they are.
        modifiers = (nodes, weights) if noise > 1e-6 else certain
        for a, wa in zip(nodes, weights, strict=True):
            for b, wb in zip(*modifiers, strict=True):
                best += wa * wb * expit(self._risk(task, seen + error * a, also + noise * b) - cut)
        summary = np.stack([seen] if modifier is None else [seen, also], axis=1)
        return summary, best

    def auroc(self, task: str, score: FloatArray) -> float:
        """Of scores of all rows, on those for scoring."""
        return float(roc_auc_score(self.labels(task)[self.half :], score[self.half :]))

    def known(self, task: str) -> float:
        """AUROC of who knows the factor and the modifier themselves."""
        row = self.people.row_admission
        planted = self.structure.interactions.get(task)
        modifier = None if planted is None else self.outcomes.modifiers[planted.modifier][row]
        return self.auroc(
            task, self._risk(task, self.outcomes.factors[row, self.structure.factor_of[task]], modifier)
        )

    def linear(self, task: str, x: FloatArray, rows: int, penalty: float = 1e-3) -> float:
        """AUROC of logistic regression learned from the first rows."""
        mean, deviation = x[:rows].mean(0), x[:rows].std(0)
        z = (x - mean) / np.where(deviation > 0, deviation, 1)
        fitted = LogisticRegression(C=1 / (penalty * rows), max_iter=500).fit(
            z[:rows], self.labels(task)[:rows]
        )
        return self.auroc(task, fitted.decision_function(z))

    def boosting(self, task: str, rows: int) -> float:
        """AUROC of gradient boosting learned from the first rows, stopped early."""
        fitted = HistGradientBoostingClassifier(
            learning_rate=0.1, max_iter=300, early_stopping=True, random_state=0
        ).fit(self.features[:rows], self.labels(task)[:rows])
        return self.auroc(task, fitted.decision_function(self.features))


def table(cohort: Cohort, least: float, learned: bool) -> str:
    """The table of a cohort's tasks; ``learned``: with what models make of all columns."""
    head = ["task", "factor", "beyond it", "best", "linear"]
    if learned:
        head += ["L2", "boosting", "L2, 1,900 rows", "boosting, 1,900 rows"]
    lines = [head, ["---"] * len(head)]
    for task in cohort.tasks(least):
        planted = cohort.structure.interactions.get(task)
        factor = cohort.structure.factors[cohort.structure.factor_of[task]].name
        shape = "" if planted is None else SHAPES[planted.shape].format(planted.modifier)
        summary, best = cohort.evidence(task)
        reached = [cohort.auroc(task, best), cohort.linear(task, summary, cohort.half)]
        for rows, penalty in ((cohort.half, 1e-3), (STUDY_ROWS, 0.02)) if learned else ():
            reached += [cohort.linear(task, cohort.features, rows, penalty), cohort.boosting(task, rows)]
        lines.append([f"`{task}`", factor, shape, *(f"{value:.3f}" for value in reached)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(page: str, name: str, content: str) -> str:
    """The page with another table of this name."""
    found = re.compile(rf"(<!-- {name}: .*? -->\n).*?(\n<!-- end {name} -->)", re.DOTALL)
    assert found.search(page), name
    return found.sub(lambda match: match[1] + content + match[2], page)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    text = written(text, "default", table(Cohort("default", 40_000), 0.0, learned=True))
    text = written(text, "all", table(Cohort("all", 40_000), 0.05, learned=False))
    PAGE.write_text(text, encoding="utf-8")
