"""DenseNet-121 for one-channel images, in the weights' layout of torchxrayvision.

Written here because torchxrayvision needs torchvision, which has to match torch to the build, and is used for
nothing but this network. Names of the parameters are those of the published weights.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Findings of the 18 predictions, in the order of the weights.
FINDINGS = (
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
)
#: Thresholds that torchxrayvision publishes with densenet121-res224-chex; NaN: the finding was not trained.
_NAN = float("nan")
CHEX_THRESHOLDS = (
    *(0.1988969, 0.05710573, _NAN, 0.0531293, 0.1435217, _NAN, _NAN, 0.27212676, 0.07749717),
    *(_NAN, 0.19712369, _NAN, _NAN, _NAN, 0.09932402, 0.09273402, 0.3270967, 0.10888247),
)
_GROWTH, _BOTTLENECK, _FIRST = 32, 4, 64
_BLOCKS = (6, 12, 24, 16)


class _Layer(nn.Sequential):
    def __init__(self, width: int) -> None:
        inner = _BOTTLENECK * _GROWTH
        super().__init__(
            OrderedDict(
                norm1=nn.BatchNorm2d(width),
                relu1=nn.ReLU(),
                conv1=nn.Conv2d(width, inner, 1, bias=False),
                norm2=nn.BatchNorm2d(inner),
                relu2=nn.ReLU(),
                conv2=nn.Conv2d(inner, _GROWTH, 3, padding=1, bias=False),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        new = x
        for part in self:
            new = part(new)
        return torch.cat([x, new], 1)


class DenseNet121(nn.Module):
    """(n, 1, 224, 224) images in -1024..1024 -> (n, 1024) features and (n, 18) predictions.

    A prediction is the sigmoid of its logit, scaled so that the threshold of the finding is 0.5; of a finding
    without a threshold it is 0.5 (early versions of torchxrayvision made it NaN).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(1, _FIRST, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(_FIRST),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        width = _FIRST
        for i, depth in enumerate(_BLOCKS, start=1):
            block: OrderedDict[str, nn.Module] = OrderedDict(
                (f"denselayer{j + 1}", _Layer(width + j * _GROWTH)) for j in range(depth)
            )
            layers[f"denseblock{i}"] = nn.Sequential(block)
            width += depth * _GROWTH
            if i < len(_BLOCKS):
                layers[f"transition{i}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(width),
                        relu=nn.ReLU(),
                        conv=nn.Conv2d(width, width // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2, stride=2),
                    )
                )
                width //= 2
        layers["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(width, len(FINDINGS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        dense = F.relu(self.features(x)).mean(dim=(2, 3))
        return dense, scaled(torch.sigmoid(self.classifier(dense)))


def scaled(p: Tensor) -> Tensor:
    """Probabilities (n, 18) with every finding's threshold moved to 0.5.

    Examples:
        >>> float(scaled(torch.full((1, 18), 0.1988969))[0, 0])
        0.5
    """
    threshold = torch.tensor(CHEX_THRESHOLDS, dtype=p.dtype, device=p.device)
    low, high = p / (2 * threshold), 1 - (1 - p) / (2 * (1 - threshold))
    return torch.where(torch.isnan(threshold), torch.full_like(p, 0.5), torch.where(p < threshold, low, high))
