"""torch-rechub's side of a comparison; run by the Python of its own venv, never imported by ours.

    python torch_rechub_worker.py MODEL SAMPLES.npz OPTIONS-AS-JSON [FOLDER]

Trains in its own loop: as many batches as each line of stdin orders, or, with a FOLDER, all epochs,
with the scores after each. options: batch_size, width, lr, epochs, padding: whether id 0 is it.
"""

from __future__ import annotations

import json
import sys
from itertools import count

import numpy as np
import torch
from pace import Epochs, Paced, Pipe
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import (
    DSSM,
    MIND,
    ComirecDR,
    ComirecSA,
    GRU4Rec,
    SASRec,
    YoutubeDNN,
)
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import MatchDataGenerator

TEMPERATURE = 0.02


def build(name, num_users, num_items, max_len, options):
    width, padding = options["width"], 0 if options["padding"] else None
    user = [SparseFeature("user_id", vocab_size=num_users, embed_dim=width)]
    item = [SparseFeature("item_id", vocab_size=num_items, embed_dim=width)]
    shared = {"vocab_size": num_items, "embed_dim": width, "shared_with": "item_id"}
    history = {
        pooling: [SequenceFeature("history", pooling=pooling, padding_idx=padding, **shared)]
        for pooling in ("mean", "concat")
    }
    negatives = [SequenceFeature("neg_items", pooling="concat", **shared)]
    tower = {"dims": [128, 64, width]}
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


def train_rows(name, samples, options, *, pipe=None, folder=None):
    """Its trainer on rows with three negatives; point-wise, a row a pair."""
    label, max_len = samples.pop("label"), samples["history"].shape[1]
    num_items = int(samples.pop("num_items")) + 1
    queries = {part: samples.pop(f"{part}_history") for part in ("valid", "test")}
    users = np.arange(1, len(queries["valid"]) + 1)
    model = build(name, len(users) + 1, num_items, max_len, options)
    trainer = MatchTrainer(
        model,
        mode=0 if name == "dssm" else 2,
        n_epoch=1,
        device="cpu",
        optimizer_params={"lr": options["lr"], "weight_decay": 1e-6},
    )
    first = {key: column[:1] for key, column in samples.items()}
    generator = MatchDataGenerator(x=samples, y=label)
    loader, _, _ = generator.generate_dataloader(
        first, first, batch_size=options["batch_size"], num_workers=0
    )
    if pipe is not None:
        pairs = 1 if name == "dssm" else 1 + samples["neg_items"].shape[1]
        parameters = sum(p.numel() for p in model.parameters())
        loader = Paced(
            loader, pipe, scored=lambda batch: pairs * len(batch[1]), parameters=parameters
        )

    def score(part):
        model.eval()
        with torch.no_grad():
            model.mode = "user"
            history = torch.from_numpy(queries[part])
            user = model({"user_id": torch.from_numpy(users), "history": history})
            model.mode = "item"
            item = model({"item_id": torch.arange(1, num_items)})
        model.mode = None
        scores = user @ item.T
        return scores if scores.dim() == 2 else scores.max(1).values

    epochs = Epochs(folder)
    for _ in range(options["epochs"]) if folder else count():
        trainer.train_one_epoch(loader)
        if folder:
            epochs.ended(score)


def train_windows(samples, options, pipe):
    """Its SASRec on the last window of every user, one negative a position: its trainer has no
    such loss, so the loop and the loss are those of the paper's code."""
    seq, positive = samples["sequence"], samples["positive"]
    num_items = int(samples["num_items"]) + 1
    shared = {"vocab_size": num_items, "embed_dim": options["width"], "pooling": "concat"}
    features = [SequenceFeature("seq", **shared)]
    features += [SequenceFeature(name, shared_with="seq", **shared) for name in ("pos", "neg")]
    model = SASRec(features, max_len=seq.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=options["lr"])
    parameters = sum(p.numel() for p in model.parameters())
    columns = torch.utils.data.TensorDataset(torch.from_numpy(seq), torch.from_numpy(positive))
    loader = torch.utils.data.DataLoader(
        columns, batch_size=options["batch_size"], shuffle=True, drop_last=True
    )
    paced = Paced(
        loader, pipe, scored=lambda batch: 2 * int((batch[1] > 0).sum()), parameters=parameters
    )
    for _ in count():
        for past, target in paced:
            drawn = torch.randint(1, num_items, target.shape)
            positive, negative = model({"seq": past, "pos": target, "neg": drawn})
            real = target > 0
            loss = torch.nn.functional.softplus(-positive[real]).mean()
            loss = loss + torch.nn.functional.softplus(negative[real]).mean()
            model.zero_grad()
            loss.backward()
            optimizer.step()


def main(name, file, options, folder=None):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pipe = Pipe()
    samples = dict(np.load(file))
    if name == "sasrec":
        train_windows(samples, options, pipe)
    elif folder is None:
        train_rows(name, samples, options, pipe=pipe)
    else:
        train_rows(name, samples, options, folder=folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), *sys.argv[4:])
