"""Following the registry's pointer with real bundles in a real folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.model.bundle import ITEMS, Bundle
from shared.model.bundle_watcher import BundleSource, BundleStatus, BundleWatcher
from shared.model.registry import Registry
from tests.unit.candidate_generation.bare_bundles import publish_bare

DAY_MS = 86_400_000


@dataclass
class Scene:
    """A registry, a watcher on it, and what the watcher did."""

    folder: Path
    now_ms: int = 1_700_000_000_000
    installed: list[tuple[str, str]] = field(default_factory=list)
    reports: list[BundleStatus] = field(default_factory=list)
    load: Callable[[Bundle], str] = lambda bundle: bundle.vocabulary.ids[0]

    def __post_init__(self) -> None:
        self.registry = Registry(str(self.folder / "registry"))
        source = BundleSource(self.registry, self.folder / "cache")
        self.watcher: BundleWatcher[str] = BundleWatcher(
            source, self._load, self._install, lambda: self.now_ms, self.reports.append
        )

    def publish(self, item_id: str, created_ms: int) -> str:
        """Publish a bundle that consists of one item."""
        return publish_bare(self.registry, self.folder / f"made-{created_ms}", item_id, created_ms)

    def stored(self, version: str) -> Path:
        """Where the registry keeps a bundle."""
        return self.folder / "registry" / "bundles" / version

    def _load(self, bundle: Bundle) -> str:
        return self.load(bundle)

    async def _install(self, bundle: Bundle, loaded: str) -> None:
        self.installed.append((bundle.manifest.version, loaded))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """An empty registry."""
    return Scene(tmp_path)


async def test_an_empty_registry_installs_nothing_and_is_no_fault(scene: Scene) -> None:
    assert not await scene.watcher.check()

    assert scene.watcher.status == BundleStatus(checked_ms=scene.now_ms)


async def test_a_published_bundle_is_installed_once(scene: Scene) -> None:
    version = scene.publish("a", 1 * DAY_MS)

    first, second = await scene.watcher.check(), await scene.watcher.check()

    assert (first, second) == (True, False)
    assert scene.installed == [(version, "a")]
    assert scene.watcher.status.version == version


async def test_a_rollback_is_followed_too(scene: Scene) -> None:
    old, new = scene.publish("a", 1 * DAY_MS), scene.publish("b", 2 * DAY_MS)
    await scene.watcher.check()
    scene.registry.rollback()

    await scene.watcher.check()

    assert scene.installed == [(new, "b"), (old, "a")]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-2], lambda data: bytes([data[0] ^ 1]) + data[1:], lambda _: b""]
)
async def test_a_damaged_bundle_is_refused_with_its_reason_and_the_old_one_stays(
    scene: Scene, damage: Callable[[bytes], bytes]
) -> None:
    old = scene.publish("a", 1 * DAY_MS)
    await scene.watcher.check()
    new = scene.publish("b", 2 * DAY_MS)
    file = scene.stored(new) / ITEMS
    file.write_bytes(damage(file.read_bytes()))

    taken = await scene.watcher.check()

    status = scene.watcher.status
    assert not taken
    assert (status.version, status.refused_version) == (old, new)
    assert ITEMS in status.refused_reason
    assert scene.installed == [(old, "a")]


async def test_a_bundle_whose_loading_fails_is_refused_and_told_once(scene: Scene) -> None:
    def fail(_bundle: Bundle) -> str:
        raise KeyError("weights")

    scene.load = fail
    version = scene.publish("a", 1 * DAY_MS)

    for _ in range(3):
        await scene.watcher.check()

    assert scene.watcher.status.refused_version == version
    assert "weights" in scene.watcher.status.refused_reason
    assert len(scene.reports) == 1


async def test_a_refused_bundle_is_tried_again_later_and_may_have_healed(scene: Scene) -> None:
    version = scene.publish("a", 1 * DAY_MS)
    file = scene.stored(version) / ITEMS
    whole = file.read_bytes()
    file.write_bytes(b"")
    await scene.watcher.check()
    file.write_bytes(whole)

    at_once = await scene.watcher.check()
    scene.now_ms += 60_000
    later = await scene.watcher.check()

    assert (at_once, later) == (False, True)
    assert scene.watcher.status == BundleStatus(version=version, checked_ms=scene.now_ms)


async def test_a_pointer_to_nothing_is_the_registrys_fault_and_nothing_is_refused(scene: Scene) -> None:
    old = scene.publish("a", 1 * DAY_MS)
    await scene.watcher.check()
    (scene.folder / "registry" / "current").write_text("20990101T000000000-00000000\n")

    await scene.watcher.check()

    status = scene.watcher.status
    assert (status.version, status.refused_version) == (old, "")
    assert "20990101T000000000-00000000" in status.registry_error


async def test_a_pointer_that_is_garbage_is_told(scene: Scene) -> None:
    (scene.folder / "registry").mkdir()
    (scene.folder / "registry" / "current").write_text(json.dumps({"what": "ever"}))

    await scene.watcher.check()

    assert "no version" in scene.watcher.status.registry_error


async def test_copies_of_bundles_long_gone_are_removed_from_the_cache(scene: Scene) -> None:
    versions = []
    for day in range(1, 5):
        versions.append(scene.publish(f"i{day}", day * DAY_MS))
        await scene.watcher.check()

    assert sorted(path.name for path in (scene.folder / "cache").iterdir()) == versions[-2:]
