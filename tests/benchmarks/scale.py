"""Steps and rankings where the catalogue is large, and the chunked softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rechub_cli.evaluation.ranking import block_rows
from rechub_cli.trainers.full_softmax import full_softmax
from tests.benchmarks.ranked import Ranked
from tests.benchmarks.record import Row
from tests.benchmarks.stages import StagedTraining
from tests.benchmarks.synthetic import bare, narrow
from tests.benchmarks.timing import interleave, row

LARGE, SMALL = 1_000_000, 10_000
RANKED_USERS, WIDTH, TOP = 128, 64, 50
LARGE_CATALOGUE = (
    "trainer.optimizer_params.name=rowwise_adagrad",
    "trainer.optimizer_params.lr=0.05",
)
ADAM = "trainer.optimizer_params.name=adam"


def catalogue_step(rounds: int) -> list[Row]:
    """A step of sampled softmax over 1M items against the same over 10k: with the optimizer that
    README names for large catalogues, and with Adam, which updates every row."""
    return [
        _catalogue_step("scale/step of 1M items", rounds, *LARGE_CATALOGUE, target=1.3),
        _catalogue_step("scale/step of 1M items, adam", rounds, ADAM),
    ]


def _catalogue_step(name: str, rounds: int, *words: str, target: float | None = None) -> Row:
    config = narrow(
        "model=youtube_dnn",
        "trainer.batch_size=1024",
        "trainer.negatives.sampler=uniform",
        "trainer.negatives.num_negatives=512",
        *words,
    )
    trainings = {str(size): StagedTraining(config, bare(size)) for size in (SMALL, LARGE)}
    seconds = interleave({name: t.step for name, t in trainings.items()}, rounds=3 * rounds)
    return row(
        name,
        seconds[str(LARGE)],
        "10k items",
        seconds[str(SMALL)],
        work=trainings[str(LARGE)].rows,
        unit="targets",
        target=target,
        note="youtube_dnn, sampled softmax, 512 negatives",
    )


def ranking(rounds: int) -> list[Row]:
    """Exact ranking of 1M items against the bare products and top-k of the same blocks."""
    ranked = Ranked.random(num_items=LARGE, users=RANKED_USERS, width=WIDTH)
    size = block_rows(LARGE)

    def products() -> None:
        for users in ranked.users.split(size):
            (users @ ranked.items.T).topk(TOP, dim=1)

    works = {"ours": lambda: ranked.rank(TOP), "bare": products}
    seconds = interleave(works, rounds=min(rounds, 3))
    return [
        row(
            "scale/ranking of 1M items",
            seconds["ours"],
            "bare products and top-k",
            seconds["bare"],
            work=RANKED_USERS,
            unit="users",
            target=1.6,
            note=f"{RANKED_USERS} users",
        )
    ]


def softmax(rounds: int) -> list[Row]:
    """The chunked full softmax with its gradients, against one product of all rows."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(4_096, WIDTH, generator=generator, requires_grad=True)
    items = torch.randn(3_700, WIDTH, generator=generator, requires_grad=True)
    target = torch.randint(len(items), (len(queries),), generator=generator)

    def whole() -> Tensor:
        return cross_entropy((queries / 0.1) @ items.T, target)

    seconds = interleave(
        {
            "ours": lambda: full_softmax(queries, items, target, temperature=0.1).backward(),
            "whole": lambda: whole().backward(),
        },
        rounds=3 * rounds,
    )
    return [
        row(
            "scale/chunked softmax",
            seconds["ours"],
            "the unchunked one",
            seconds["whole"],
            work=len(queries),
            unit="targets",
            target=1.0,
            note="4,096 targets, 3,700 items, 64 wide, forward and backward",
        )
    ]
