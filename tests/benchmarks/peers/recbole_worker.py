"""RecBole's side of a comparison; run by the Python of its own venv, never imported by ours.

    python recbole_worker.py MODEL SEQUENCES.npz OPTIONS-AS-JSON [FOLDER]

Trains in its own loop: as many batches as each line of stdin orders, or, with a FOLDER, all epochs,
with the scores after each.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from pace import Epochs, Paced, Pipe
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_seed


def write(found, folder):
    """The sequences as the file that RecBole reads; a user's place in time is a timestamp."""
    items, offsets = found["items"], found["offsets"]
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user, (first, stop) in enumerate(pairwise(offsets)):
        lines += [f"{user}\t{item}\t{t}" for t, item in enumerate(items[first:stop])]
    home = Path(folder) / "bench"
    home.mkdir()
    (home / "bench.inter").write_text("\n".join(lines) + "\n")


def main(name, file, options, folder=None):
    torch.set_num_threads(1)
    pipe = Pipe()
    found = np.load(file)
    with tempfile.TemporaryDirectory() as scratch:
        write(found, scratch)
        os.chdir(scratch)  # it writes logs and checkpoints where it stands
        sys.argv = sys.argv[:1]  # it would read them
        config = Config(
            model=name,
            dataset="bench",
            config_dict={
                "data_path": scratch,
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
                "train_neg_sample_args": None,
                "use_gpu": False,
                "show_progress": False,
                "state": "ERROR",
                **options,
            },
        )
        init_seed(0, True)
        dataset = create_dataset(config)
        train, _, _ = data_preparation(config, dataset)
        model = get_model(name)(config, train.dataset)
        trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
        if folder is None:
            size = sum(p.numel() for p in model.parameters())
            paced = Paced(train, pipe, scored=len, parameters=size)
            for epoch in range(10**6):
                trainer._train_epoch(paced, epoch)
        epochs = Epochs(folder)
        for epoch in range(config["epochs"]):
            trainer._train_epoch(train, epoch)
            model.eval()
            epochs.ended(lambda part: scores(model, dataset, found, part, config))


def scores(model, dataset, found, part, config):
    items, offsets = found["items"], found["offsets"]
    back = {"valid": 2, "test": 1}[part]
    known = dataset.field2token_id["item_id"]
    places = np.array([known.get(str(item), 0) for item in range(int(found["num_items"]))])
    width = config["MAX_ITEM_LIST_LENGTH"]
    x = np.zeros((len(offsets) - 1, width), dtype=np.int64)
    lengths = np.zeros(len(x), dtype=np.int64)
    for user, (first, stop) in enumerate(pairwise(offsets)):
        past = places[items[first : stop - back]][-width:]
        x[user, : len(past)], lengths[user] = past, len(past)
    query = {"item_id_list": torch.from_numpy(x), "item_length": torch.from_numpy(lengths)}
    with torch.no_grad():
        return model.full_sort_predict(Interaction(query)).numpy()[:, places]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), *sys.argv[4:])
