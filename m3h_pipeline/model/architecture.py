"""The shape of a model: modalities with their encoders, tasks by class and outputs. No PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from m3h_pipeline.config.model import Model, Transcriptome

#: The tasks of a model without their names: (problem class, number of outputs) at each position, sorted.
Signature = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Input:
    """One modality: how many features it has, and its encoder.

    Attributes:
        name: of the modality.
        features: number of features.
        encoder: shipped name or dotted path.
        hidden: widths of the encoder.
        options: of a transcriptome encoder.
        genes: names of its features, in order.
        absence: whether a learned vector stands for the encoding of rows without the modality.
    """

    name: str
    features: int
    encoder: str
    hidden: tuple[int, ...]
    options: Transcriptome | None = None
    genes: tuple[str, ...] = ()
    absence: bool = False


@dataclass(frozen=True)
class Architecture:
    """What the shape of a model depends on.

    Attributes:
        inputs: the modalities, in the order of the feature columns.
        signature: the tasks' classes and outputs.
        model: the configured network.
        contrast: False where the contrastive loss has no weight: it is then not computed.
    """

    inputs: tuple[Input, ...]
    signature: Signature
    model: Model
    contrast: bool = True

    @property
    def features(self) -> int:
        """Number of features of all modalities."""
        return sum(item.features for item in self.inputs)

    @property
    def contrastive(self) -> bool:
        """Whether there is a contrastive loss: a single modality has nothing to be contrasted with."""
        return self.contrast and len(self.inputs) > 1


def described(item: Input) -> dict[str, Any]:
    """A modality's encoder as JSON."""
    options = None if item.options is None else item.options.model_dump(mode="json")
    return {**asdict(item), "options": options}


def restored(content: Mapping[str, Any]) -> Input:
    """The encoder that ``described`` describes."""
    options = content["options"]
    parts = {**content, "hidden": tuple(content["hidden"]), "genes": tuple(content["genes"])}
    return Input(**{**parts, "options": None if options is None else Transcriptome.model_validate(options)})
