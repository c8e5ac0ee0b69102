"""What the trainer measured of a bundle is what the services give with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np

from services.trainer import metrics
from services.trainer.bundle_evaluation import BundleRecommender, evaluation_settings
from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.evaluation import recommend_all
from services.trainer.splits import leave_one_out
from shared.model.bundle import open_bundle
from shared.model.registry import Registry
from tests.benchmarks.offline_services import Asked, Services, Setup, services_of
from tests.e2e.product import Product

USERS, K = 300, 10


def test_the_metrics_through_the_services_are_those_of_the_trainer(product: Product, tmp_path: Path) -> None:
    dataset = open_dataset(DataSource("ml-100k", cache=product.data_dir / "cache")).dataset
    split = leave_one_out(dataset).sampled(USERS, np.random.default_rng(0))
    registry = Registry(str(product.data_dir / "registry"))
    bundle = open_bundle(registry.fetch(registry.current(), tmp_path / "cache"))
    # The services poll their top lists by the present; here every user asks at another moment of the past.
    quotas = replace(evaluation_settings(bundle.manifest), popular=0, trending=0)
    trainers = BundleRecommender.of(bundle, dataset, split, "two-stage", quotas)
    setup = Setup(bundle, dataset, split, quotas)

    offline = recommend_all(trainers, split, K)
    online = asyncio.run(_asked(setup, tmp_path))

    measured, served = (_ndcg(lists, split.target_items) for lists in (offline, online.lists))
    alike = np.mean([len(set(one) & set(other)) / K for one, other in zip(offline, online.lists, strict=True)])
    assert measured > 0.05
    assert abs(served - measured) <= 0.01 * measured
    assert alike > 0.98
    assert online.degraded == frozenset()


async def _asked(setup: Setup, folder: Path) -> Asked:
    services: Services
    async with services_of(setup, folder) as services:
        return await services.ask(setup.split, K)


def _ndcg(lists: np.ndarray, targets: np.ndarray) -> float:
    return float(metrics.discounted_gains(metrics.ranks_of(lists, targets), K).mean())
