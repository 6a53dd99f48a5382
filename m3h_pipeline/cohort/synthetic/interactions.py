"""What a synthetic cohort plants beyond linear reach: a factor's effect depends on something that another
modality records, or risk rises on both sides of a value.

Effect sizes follow one rule, which asks clinical data and no model: main effects dominate, and an interaction
has :data:`SHARE` of the slope of its task's factor, a fifth of what is systematic in the log odds. What
predictors can then reach is computed by ``python -m tests.cohort.synthetic.reach`` and stands in
``docs/planted.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

AGE, SEX = "age", "sex"
#: Measurements -> the source that records them, each in a column of its own.
MEASURED: Mapping[str, str] = {"potassium": "ts_lab", "temperature": "ts_chart"}
#: Weight of an interaction, of variance 1, in units of its task's slope.
SHARE = 0.5

Shape = Literal["product", "u_shape", "exclusive_or"]


@dataclass(frozen=True)
class Interaction:
    """A term of one task's log odds that no linear function of features is.

    Attributes:
        shape: ``product``: the factor times the modifier; ``u_shape``: the modifier's square: too low as well
            as too high; ``exclusive_or``: whether factor and modifier lie on the same side of their middle.
        modifier: :data:`AGE`, :data:`SEX` or one of :data:`MEASURED`.
        weight: of the term, in units of the task's slope.
    """

    shape: Shape
    modifier: str
    weight: float = SHARE

    def term(self, factor: FloatArray, modifier: FloatArray) -> FloatArray:
        """The term at unit weight, of mean 0 and variance 1 where both are standard normal, (n,).

        Examples:
            >>> import numpy as np
            >>> factor, modifier = np.array([2.0, 2.0, 0.5]), np.array([-1.0, 3.0, 0.0])
            >>> Interaction("product", "age").term(factor, modifier)
            array([-2.,  6.,  0.])
            >>> Interaction("u_shape", "age").term(factor, modifier).round(2)
            array([ 0.  ,  5.66, -0.71])
            >>> Interaction("exclusive_or", "age").term(factor, modifier)
            array([-1.,  1.,  0.])
        """
        if self.shape == "product":
            return factor * modifier
        if self.shape == "u_shape":
            return np.asarray((modifier**2 - 1) / np.sqrt(2))
        return np.asarray(np.sign(factor) * np.sign(modifier))


#: Of the dozen tasks: half of those with a factor. A measurement that is its factor's own modality's makes no
#: interaction between modalities, but a U-shape is beyond linear reach wherever it is recorded.
DEFAULT: Mapping[str, Interaction] = {
    # The sicker and older; time series, vision and language, each with a column of tabular data.
    "heart_failure": Interaction("product", AGE),
    "copd": Interaction("product", AGE),
    "mortality_48h": Interaction("product", AGE),
    # Too low and too high.
    "chronic_kidney_disease": Interaction("u_shape", "potassium"),
    "sepsis": Interaction("u_shape", "temperature"),
    # A shadow on the image with fever, or neither of them.
    "pneumonia": Interaction("exclusive_or", "temperature"),
}

#: Of the 41: the more frequent ones of most groups.
ALL: Mapping[str, Interaction] = {
    "heart_failure": Interaction("product", AGE),
    "copd": Interaction("product", AGE),
    "pneumonia": Interaction("product", AGE),
    "mortality_48h": Interaction("product", AGE),
    "stroke": Interaction("product", AGE),
    "chronic_kidney_disease": Interaction("u_shape", "potassium"),
    "sepsis": Interaction("u_shape", "temperature"),
    "ischemic_heart_disease": Interaction("exclusive_or", SEX),
    "major_depressive_disorder": Interaction("exclusive_or", SEX),
    "anemia": Interaction("exclusive_or", SEX),
    "osteoporosis": Interaction("exclusive_or", SEX),
}
