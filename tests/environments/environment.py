"""A fresh virtual environment with one service in it, as its image has it: the lock's versions, the service's extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.kernel.probe import healthy
from tests.deploy.manifests import ROOT
from tests.e2e.product import wait_until
from tests.ports import free_port

UV: Final = Path(sys.executable).parent / "uv"
EXTRAS: Final = {
    "feedback": "kafka",
    "feature": "multilingual,redis",
    "candidate_generation": "candidate-generation,multilingual",
    "ranking": "ranking",
    "recommendation": "",
    "trainer": "multilingual,trainer",
}
WITH_TORCH: Final = ("candidate_generation", "ranking", "trainer")
PINNED: Final = re.compile(r"^[a-z0-9._-]+==[^ ;]+(?: ; [^\\]+)?", re.MULTILINE)
START_SECONDS, STOP_SECONDS = 180, 60


@dataclass(frozen=True, slots=True)
class Environment:
    """A folder with a Python that can import one service and what that needs."""

    service: str
    folder: Path

    def install(self) -> None:
        """Make it."""
        constraints = self.folder / "constraints.txt"
        constraints.write_text("\n".join(PINNED.findall((ROOT / "requirements.lock").read_text())))
        self._uv("venv", "--python", sys.executable, str(self.folder / "venv"))
        if self.service in WITH_TORCH:
            self._install_torch()
        source = f"{ROOT}[{EXTRAS[self.service]}]" if EXTRAS[self.service] else str(ROOT)
        self._uv("pip", "install", "--constraint", str(constraints), source)

    def can_import(self, *names: str) -> set[str]:
        """Which of the named packages are there."""
        find = f"import importlib.util as u; print(*[n for n in {names!r} if u.find_spec(n)])"
        return set(self.run("python", "-c", find).stdout.split())

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs in an empty folder."""
        command = [self._program(program), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self._environ(), capture_output=True, text=True, check=False
        )

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Run the service until the block ends; gives the address that tells its health."""
        name = f"WINNOW_{self.service.upper()}"
        address, asked = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        own = {f"{name}_ADDRESS": address, f"{name}_METRICS_PORT": "0", f"{name}_HEALTH_ADDRESS": asked}
        log = self.folder / "log"
        with log.open("wb") as written:
            command = [self._program("python"), "-m", f"services.{self.service}"]
            environ = self._environ() | own
            process = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=written, stderr=written)
        try:
            told = address if self.service == "ranking" else asked

            def alive() -> bool:
                assert process.poll() is None, log.read_text()[-3000:]
                return healthy(told, "live")

            wait_until(alive, START_SECONDS, lambda: log.read_text()[-3000:])
            yield told
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)
        assert process.returncode == 0, log.read_text()[-3000:]

    def _install_torch(self) -> None:
        """As deploy/setup.sh does: apart, from the index that is named, the CPU's build where it can be found."""
        wanted = os.environ.get("TORCH", "torch==2.13.0")
        index = [f"--index-url={url}"] if (url := os.environ.get("TORCH_INDEX_URL")) else []
        links = [f"--find-links={folder}" for folder in os.environ.get("PIP_FIND_LINKS", "").split()]
        # Without what it needs, which is no matter of torch's index: the service's own installation brings that.
        install = ("pip", "install", "--no-deps", *index, *links)
        if self._tried(*install, f"{wanted}+cpu").returncode:
            self._uv(*install, wanted)

    def _uv(self, *arguments: str) -> None:
        made = self._tried(*arguments)
        assert made.returncode == 0, made.stderr[-3000:]

    def _tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = self._environ() | {"VIRTUAL_ENV": str(self.folder / "venv")}
        return subprocess.run([UV, *arguments], env=environ, capture_output=True, text=True, check=False)

    def _program(self, name: str) -> Path:
        return self.folder / "venv" / "bin" / name

    def _environ(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WINNOW_", "PYTHON"))}
        return inherited | {"WINNOW_DATA_DIR": str(self.folder / "data")}
