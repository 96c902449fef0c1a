"""A small demo, and the config of a run on it."""

from __future__ import annotations

from collections.abc import Callable

import hydra
import pytest

from rechub_cli.config.locate import conf_dir
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import resolve
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.dataset import MatchData
from rechub_cli.runs import load_data
from rechub_cli.shell.diagnose import plain

SMALL = ("data.num_users=60", "data.num_items=40", "trainer.threads=1", "export=none")
MakeConfig = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def config() -> MakeConfig:
    def make(*overrides: str) -> RunConfig:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            values = plain(hydra.compose("train", overrides=[*SMALL, *overrides]))
        return resolve(RunConfig, values, origin=Origin(overrides))

    return make


@pytest.fixture(scope="session")
def demo(config: MakeConfig) -> MatchData:
    return load_data(config())[0]
