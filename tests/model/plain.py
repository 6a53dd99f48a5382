"""The parameters of a stacked model as those of the ordinary module that the documentation shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from m3h_pipeline.config.model import Model


def plain_state(
    state: Mapping[str, Tensor], tasks: Sequence[tuple[str, int]], model: Model
) -> dict[str, Tensor]:
    """The state of a :class:`PlainM3H` from that of one model of a stack (``M3H.take``).

    Args:
        state: parameters with a model axis of 1.
        tasks: (problem class, classes) of each position; adjacent equal ones share a head module.
        model: configured widths.
    """
    out: dict[str, Tensor] = {}
    spans: list[list[int]] = []
    for t, task in enumerate(tasks):
        if t and tasks[t - 1] == task:
            spans[-1].append(t)
        else:
            spans.append([t])
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part in ("encoders", "projections"):
            modality, _, rest = rest.partition(".")
            out[f"{part}.{modality}.{_sequential(rest)}"] = value[0]
        elif part == "shared":
            out[f"shared.{_sequential(rest)}"] = value[0]
        elif part == "networks":
            for t in range(len(tasks)):
                out[f"networks.{t}.{_sequential(rest)}"] = value[t]
        elif part == "attention":
            out[f"attention.{rest}" if rest == "embedding" else f"attention.{rest}.weight"] = value[0]
        elif part == "linear":
            span, _, rest = rest.partition(".")
            for row, t in enumerate(spans[int(span)]):
                out[f"linear.{t}.{rest}"] = value[row]
        else:
            span, _, rest = rest.partition(".")
            for row, t in enumerate(spans[int(span)]):
                if tasks[t][0] == "clustering":
                    if rest.startswith("hidden."):
                        rest_of = _sequential(rest.removeprefix("hidden."))
                    else:
                        rest_of = f"{2 * len(model.decoder)}.{rest.removeprefix('last.')}"
                    out[f"heads.{t}.{rest_of}"] = value[row]
                else:
                    out[f"heads.{t}.{rest}"] = value[row]
    return out


def _sequential(name: str) -> str:
    """``layers.1.weight`` is the weight of entry 2 of a Sequential in which ReLUs stand between."""
    if not name.startswith("layers."):
        return name
    _, number, rest = name.split(".", 2)
    return f"{2 * int(number)}.{rest}"
