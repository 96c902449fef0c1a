"""RecTools' side of a comparison; run by the Python of its own venv, never imported by ours.

    python rectools_worker.py SASRec SEQUENCES.npz OPTIONS-AS-JSON [FOLDER]

Trains in its own loop: as many batches as each line of stdin orders, or, with a FOLDER, all epochs,
with the scores after each.
"""

from __future__ import annotations

import json
import sys
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from pace import Epochs, Paced, Pipe
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.sasrec import SASRecDataPreparator


class Preparator(SASRecDataPreparator):
    pipe = model = None

    def get_dataloader_train(self):
        loader = super().get_dataloader_train()
        if self.pipe is None:
            return loader
        return Paced(loader, self.pipe, scored=self._positions, parameters=self._size())

    def _positions(self, batch):
        return int((batch["y"] != 0).sum())

    def _size(self):
        return sum(p.numel() for p in self.model.lightning_model.parameters())


class AfterEpoch(Callback):
    def __init__(self, epochs, score):
        self.epochs, self.score = epochs, score

    def on_train_start(self, trainer, module):
        self.epochs.begin()

    def on_train_epoch_end(self, trainer, module):
        module.eval()
        self.epochs.ended(self.score)
        module.train()


def main(_, file, options, folder=None):
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    seed_everything(0)
    found = np.load(file)
    items, offsets, num_items = found["items"], found["offsets"], int(found["num_items"])
    length = np.diff(offsets)
    users = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(items)) - np.repeat(offsets[:-1], length)
    train = place < np.repeat(length, length) - 2
    frame = pd.DataFrame(
        {
            Columns.User: users,
            Columns.Item: items,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp(2000, 1, 1) + pd.to_timedelta(place, unit="s"),
        }
    )[train]
    places = None

    def score(part):
        nonlocal places
        if places is None:
            places = np.full(num_items, 0)
            known = model.data_preparator.item_id_map
            places[known.external_ids[1:].astype(int)] = np.arange(1, known.size)
        back = {"valid": 2, "test": 1}[part]
        width = options["session_max_len"]
        x = np.zeros((len(length), width), dtype=np.int64)
        for user, (first, stop) in enumerate(pairwise(offsets)):
            past = places[items[first : stop - back]]
            past = past[past > 0][-width:]
            x[user, width - len(past) :] = past
        net = model.lightning_model.torch_model
        with torch.no_grad():
            vectors = net.item_model.get_all_embeddings()
            queries = net.encode_sessions({"x": torch.from_numpy(x)}, vectors)[:, -1]
            scores = (queries @ vectors.T).numpy()[:, places]
        scores[:, places == 0] = -np.inf
        return scores

    # The model makes its trainer at once.
    callbacks = [] if folder is None else [AfterEpoch(Epochs(folder), score)]
    model = SASRecModel(
        data_preparator_type=Preparator,
        get_trainer_func=lambda: Trainer(
            max_epochs=options["epochs"],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=callbacks,
        ),
        **options,
    )
    if folder is None:
        Preparator.pipe, Preparator.model = Pipe(), model
    model.fit(Dataset.construct(frame))


if __name__ == "__main__":
    main(*sys.argv[1:3], json.loads(sys.argv[3]), *sys.argv[4:])
