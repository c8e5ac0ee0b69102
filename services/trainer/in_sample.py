"""Whether a bundle has seen the events that a training will be measured on: then its successor only remembers them.

Manifests tell: what was held out, of which data. Of a log that has grown the data differ, but it is the same log when
it reaches as far as the bundle saw and knows most of the bundle's items.
"""

from __future__ import annotations

import numpy as np

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.fingerprints import data_fingerprint
from services.trainer.increment import LogExtent
from services.trainer.log_reading import NAME
from services.trainer.presets import SplitName
from shared.domain.vocabulary import UNKNOWN_ROW
from shared.domain.watermark import Watermark
from shared.model.bundle import Bundle

SAME_ITEMS = 0.5
"""Share of the bundle's items that the data know from which on it is the same log."""


def check_held_out(bundle: Bundle, dataset: Dataset, extent: LogExtent, split: SplitName) -> None:
    """Refuse to begin as a bundle that has seen what this training holds out.

    Raises:
        DatasetError: it has; names the remedy.
    """
    manifest = bundle.manifest
    if manifest.holdout.split == split or not _of_the_same_data(bundle, dataset, extent):
        return
    sibling = manifest.evaluation_version
    remedy = f"name its sibling {sibling}" if sibling else f"name a bundle of `winnow train --split {split}`"
    raise DatasetError(
        f"bundle {manifest.version} was trained on events of {dataset.name} that the {split} split holds out (held out "
        f"of it: {manifest.holdout.split}), so whatever begins as it would be measured on what it has seen; {remedy}, "
        "or go on from it with --since"
    )


def _of_the_same_data(bundle: Bundle, dataset: Dataset, extent: LogExtent) -> bool:
    manifest = bundle.manifest
    if manifest.data_fingerprint == data_fingerprint(dataset):
        return True
    if not (extent.watermark and manifest.watermark and manifest.data_name == NAME):
        return False
    known = np.mean(dataset.items.rows(bundle.vocabulary.ids) != UNKNOWN_ROW)
    reaches = Watermark.parse(extent.watermark).covers(Watermark.parse(manifest.watermark))
    return bool(reaches and known >= SAME_ITEMS)
