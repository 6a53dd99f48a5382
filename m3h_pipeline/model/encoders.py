"""Encoders and task networks by shipped name, or by dotted path to the user's own class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from m3h_pipeline.dotted import is_path, locate
from m3h_pipeline.errors import ConfigError, nearest
from m3h_pipeline.model.keys import Draws, Dropout
from m3h_pipeline.model.layers import Mlp, StackedModule

#: Shipped parts by name; ``(inputs, hidden, draws, slope) -> StackedModule``.
SHIPPED: dict[str, type[Mlp]] = {"mlp": Mlp}


def build(name: str, inputs: int, hidden: Sequence[int], draws: Draws, slope: float = 0.0) -> StackedModule:
    """Make an encoder or a task network.

    Args:
        name: a shipped name, or a dotted path to (a) a ``StackedModule`` class, called with
            ``(inputs, hidden, draws)``, or (b) an ordinary ``nn.Module`` class or a function that returns
            one, called with ``(inputs, hidden)`` once per model: see :class:`Ordinary`.
        inputs: width of the input.
        hidden: configured widths; a class of the user's own may read them as it likes.
        draws: initial values, one key per model.
        slope: of the activations below 0; a class of the user's own has its own.

    Raises:
        ConfigError: the name is unknown, or the class does not keep the contract.
    """
    if not is_path(name):
        if name not in SHIPPED:
            known = nearest(name, [*SHIPPED, "transcriptome"])
            raise ConfigError(
                f"unknown network `{name}`",
                where="configuration",
                hint=f"{known} (or the dotted path of a class of your own)",
            )
        return SHIPPED[name](inputs, hidden, draws, slope)
    made = locate(name)
    if not (inspect.isclass(made) and issubclass(made, StackedModule)):
        return Ordinary(made, name, inputs, hidden, draws)
    part = made(inputs, hidden, draws)
    _check(part, name, inputs, draws)
    return part


def _check(part: StackedModule, name: str, inputs: int, draws: Draws) -> None:
    if getattr(part, "models", None) != draws.models or not isinstance(getattr(part, "width", None), int):
        raise ConfigError(
            "the class must set `models` (the length of its model axis) and `width` (of its output)",
            where=name,
        )
    for label, parameter in part.named_parameters():
        if parameter.ndim == 0 or parameter.shape[0] % draws.models:
            raise ConfigError(
                f"parameter `{label}` of shape {tuple(parameter.shape)} has no leading model axis of "
                f"{draws.models}",
                where=name,
                hint="or write an ordinary nn.Module, which is wrapped (slower)",
            )
    with torch.no_grad():
        shape = tuple(part(torch.zeros(1, 2, inputs, dtype=draws.dtype)).shape)
    if shape != (draws.models, 2, part.width):
        raise ConfigError(
            f"the output for a batch of 2 has shape {shape}, not {(draws.models, 2, part.width)}", where=name
        )


#: Modules that keep state between batches, or draw random numbers that no key determines.
_FORBIDDEN = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)


class Ordinary(StackedModule):
    """An ordinary ``nn.Module`` as one part of a stack, through ``torch.func``: slower, but as correct.

    One module is made per distinct key, seeded by it, so that its initial values do not depend on the stack.

    Args:
        factory: a class or function that returns the module, mapping (B, inputs) to (B, width).
        name: for messages.
        inputs: width of the input.
        hidden: configured widths, handed on.
        draws: one key per model.

    Raises:
        ConfigError: the module has dropout or running statistics, or maps to another shape.
    """

    def __init__(
        self,
        factory: Callable[[int, Sequence[int]], nn.Module],
        name: str,
        inputs: int,
        hidden: Sequence[int],
        draws: Draws,
    ) -> None:
        super().__init__()
        self.models = draws.models
        made: dict[int, nn.Module] = {}
        modules = []
        for seed in draws.seeds("module"):
            if seed not in made:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    try:
                        made[seed] = factory(inputs, hidden)
                    except TypeError as error:
                        raise ConfigError(f"calling it with (inputs, hidden): {error}", where=name) from error
            modules.append(made[seed])
        base = modules[0]
        if not isinstance(base, nn.Module):
            raise ConfigError(f"it made a {type(base).__name__}, not an nn.Module", where=name)
        for module in base.modules():
            if isinstance(module, _FORBIDDEN):
                raise ConfigError(
                    f"it contains {type(module).__name__}: a stack cannot hold running statistics or "
                    "unkeyed random numbers",
                    where=name,
                    hint="use LayerNorm, and `model.dropout`",
                )
        with torch.no_grad():
            out = base(torch.zeros(2, inputs))
        if out.ndim != 2 or out.shape[0] != 2:
            raise ConfigError(f"the output for a batch of 2 has shape {tuple(out.shape)}", where=name)
        self.width = int(out.shape[1])
        parameters, buffers = stack_module_state(modules)
        # A parameter's name may not contain a dot.
        self._names = {label: label.replace(".", "/") for label in parameters}
        self._buffer_names = {label: label.replace(".", "/") for label in buffers}
        for label, value in parameters.items():
            self.register_parameter(self._names[label], nn.Parameter(value.detach().to(draws.dtype)))
        for label, value in buffers.items():
            value = value.to(draws.dtype) if value.is_floating_point() else value
            self.register_buffer(self._buffer_names[label], value)
        # Kept out of the module tree: only its code is used, never its parameters.
        self._base = [base.to("meta")]

    def forward(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Map (G, B, in) to (models, B, width)."""
        base = self._base[0]
        parameters = {label: getattr(self, name) for label, name in self._names.items()}
        buffers = {label: getattr(self, name) for label, name in self._buffer_names.items()}

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            out: Tensor = functional_call(base, (parameters, buffers), (x,))
            return out

        x = x.repeat_interleave(self.models // x.shape[0], 0)
        return torch.func.vmap(one)(parameters, buffers, x)
