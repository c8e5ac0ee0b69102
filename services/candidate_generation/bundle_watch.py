"""Keeps a bundle in use: loads what the registry's pointer names, brings it up to the catalogue, swaps one reference.

While a new bundle is loaded and brought up, the old one serves; requests under way keep the one they began with.
"""

from __future__ import annotations

from typing import Final

import structlog

from services.candidate_generation import telemetry
from services.candidate_generation.catalogue_watch import CatalogueWatch
from services.candidate_generation.engine import Engine, EngineParts, Threads, Towers
from services.candidate_generation.recall_watch import RecallWatch
from services.candidate_generation.retrieval import Serving
from services.candidate_generation.user_tower import UserTower
from shared.domain.history import History
from shared.model.bundle import Bundle
from shared.model.bundle_telemetry import tell_bundle
from shared.model.bundle_watcher import BundleStatus
from shared.model.content import TEXT, frozen_id
from shared.model.index import AnnoyItemIndex
from shared.model.live_index import LiveIndex
from shared.model.retriever import RetrieverModel
from shared.model.transitions import TransitionTable

_WARM_UP_NEAREST: Final = 10

log = structlog.get_logger()


def load_parts(bundle: Bundle, *, exact: bool, text_encoder_id: str = "") -> EngineParts:
    """Read what retrieval needs of a verified bundle. Blocking.

    Args:
        bundle: verified.
        exact: search without the index.
        text_encoder_id: of this process; "": it has none.
    """
    index, model = AnnoyItemIndex.load(bundle), RetrieverModel.load(bundle)
    _compare_encoders(model, text_encoder_id)
    return EngineParts(
        version=bundle.manifest.version,
        watermark=bundle.manifest.watermark,
        vocabulary=bundle.vocabulary,
        towers=_towers(model),
        index=LiveIndex(index, bundle.vocabulary, bundle.manifest.search_k, exact=exact),
        vectors=index.vectors,
        transitions=TransitionTable.load(bundle),
    )


def _towers(model: RetrieverModel) -> Towers:
    tower = UserTower(model)
    if tower.agrees():
        return tower
    log.warning("user_tower.differs", using="the network itself, which is slower")
    return model


def _compare_encoders(model: RetrieverModel, here: str) -> None:
    """Say when items that are newer than the bundle will come with vectors that it cannot read."""
    told = next((encoder.encoder_id for encoder in model.encoding.encoders if encoder.modality == TEXT), here)
    if told != here and frozen_id(told) == frozen_id(here):
        log.warning(
            "bundle.other_text_encoder",
            bundle=told,
            this_process=here,
            remedy="restart feature and candidate_generation: tuned layers are read when they start",
        )


def report(status: BundleStatus) -> None:
    """Tell operators what happened to the bundle."""
    if status.refused_reason:
        telemetry.BUNDLES_REFUSED.inc()
        log.error(
            "bundle.refused", version=status.refused_version, reason=status.refused_reason, serving=status.version
        )
    elif status.registry_error:
        log.warning("registry.unreadable", error=status.registry_error, serving=status.version)
    elif status.version:
        telemetry.BUNDLES_INSTALLED.inc()
        log.info("bundle.serving", version=status.version)


class EngineKeeper:
    """Installs bundles and keeps the one in use in step with the catalogue.

    Args:
        serving: where the bundle in use is read from.
        watch: the catalogue and when it changes.
        threads: where engines work.
        recall: is shown their searches.
    """

    def __init__(
        self, serving: Serving, watch: CatalogueWatch, threads: Threads, recall: RecallWatch | None = None
    ) -> None:
        self._serving, self._watch, self._threads, self._recall = serving, watch, threads, recall

    async def install(self, bundle: Bundle, parts: EngineParts) -> None:
        """Bring a loaded bundle up to the catalogue, warm it up, and swap."""
        engine = Engine(parts, self._threads, self._recall)
        await self._catch_up(engine)
        await engine.user_vector(History.empty(), self._watch.catalogue)
        await self._catch_up(engine)  # ends without a pause, so nothing can come between it and the swap
        self._serving.engine = engine
        tell_bundle("candidate_generation", bundle.manifest)

    async def run(self) -> None:
        """Follow the catalogue for ever."""
        while True:
            self._watch.changed.clear()
            telemetry.CATALOGUE_ITEMS.set(len(self._watch.catalogue))
            while (engine := self._serving.engine) and engine.behind(self._watch.catalogue):
                await engine.follow(self._watch.catalogue)
            await self._watch.changed.wait()

    async def _catch_up(self, engine: Engine) -> None:
        while engine.behind(self._watch.catalogue):
            await engine.follow(self._watch.catalogue)
