"""torch-rechub's side of a comparison; run by the Python of its own venv, never imported by ours.

    python torch_rechub_worker.py MODEL SAMPLES.npz BATCH_SIZE

Reads a number of batches from each line of stdin, trains on them, and answers with one line of
JSON: seconds of the processor, (user, item) pairs that were scored, parameters of the model.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import islice

import numpy as np
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import DSSM, MIND, ComirecDR, ComirecSA, GRU4Rec, YoutubeDNN
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import MatchDataGenerator

WIDTH, TEMPERATURE = 16, 0.02


class Some:
    """So many batches of an endless round through a loader."""

    def __init__(self, loader, count):
        self.batches, self.count, self.pairs = loader, count, 0

    def __iter__(self):
        for features, label in islice(self.batches, self.count):
            self.pairs += len(label) * (
                1 + features.get("neg_items", label[:, None][:, :0]).shape[1]
            )
            yield features, label


def endless(loader):
    while True:
        yield from loader


def build(name, num_users, num_items, max_len):
    user = [SparseFeature("user_id", vocab_size=num_users, embed_dim=WIDTH)]
    item = [SparseFeature("item_id", vocab_size=num_items, embed_dim=WIDTH)]
    shared = {"vocab_size": num_items, "embed_dim": WIDTH, "shared_with": "item_id"}
    history = {
        pooling: [SequenceFeature("history", pooling=pooling, padding_idx=0, **shared)]
        for pooling in ("mean", "concat")
    }
    negatives = [SequenceFeature("neg_items", pooling="concat", **shared)]
    tower = {"dims": [128, 64, WIDTH]}
    mean, options = user + history["mean"], {"user_params": tower, "temperature": TEMPERATURE}
    if name == "dssm":
        return DSSM(mean, item, item_params=tower, **options)
    if name == "youtube_dnn":
        return YoutubeDNN(mean, item, negatives, **options)
    parts = (user, history["concat"], item, negatives)
    if name == "mind":
        return MIND(*parts, max_length=max_len, temperature=TEMPERATURE)
    if name == "comirec_dr":
        model = ComirecDR(*parts, max_length=max_len, temperature=TEMPERATURE)
        torch.nn.init.normal_(model.capsule.w, 0, 0.02)  # it is left uninitialised
        return model
    if name == "comirec_sa":
        return ComirecSA(*parts, temperature=TEMPERATURE)
    return GRU4Rec(*parts, **options)


def main(name, file, batch_size):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples = dict(np.load(file))
    label, max_len = samples.pop("label"), samples["history"].shape[1]
    num_users, num_items = (int(samples[k].max()) + 1 for k in ("user_id", "item_id"))
    model = build(name, num_users, num_items, max_len)
    parameters = sum(p.numel() for p in model.parameters())
    trainer = MatchTrainer(
        model,
        mode=0 if name == "dssm" else 2,
        n_epoch=1,
        device="cpu",
        optimizer_params={"lr": 1e-3},
    )
    first = {key: column[:1] for key, column in samples.items()}
    generator = MatchDataGenerator(x=samples, y=label)
    loader, _, _ = generator.generate_dataloader(first, first, batch_size=batch_size, num_workers=0)
    batches = endless(loader)
    answers = sys.stdout
    sys.stdout = sys.stderr  # the library prints on its own
    for line in sys.stdin:
        some = Some(batches, int(line))
        start = time.process_time()
        trainer.train_one_epoch(some)
        seconds = time.process_time() - start
        answer = {"seconds": seconds, "pairs": some.pairs, "parameters": parameters}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
