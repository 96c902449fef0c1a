"""implicit's side of a ranking; run by the Python of its own venv, never imported by ours.

    python implicit_worker.py ranking VECTORS.npz OPTIONS-AS-JSON

Makes every user's list as often as each line of stdin orders.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from pace import Pipe
from scipy.sparse import csr_matrix


def main(_, file, options):
    found = np.load(file)
    users, items = found["users"], found["items"]
    seen = csr_matrix(
        (np.ones(len(found["seen"]), dtype=np.float32), found["seen"], found["offsets"]),
        shape=(len(users), len(items)),
    )
    model = AlternatingLeastSquares(factors=users.shape[1], num_threads=1)
    model.user_factors, model.item_factors = users, items
    rows, pipe = np.arange(len(users)), Pipe()
    while True:
        count = pipe.order()
        start = time.process_time()
        for _ in range(count):
            lists, _ = model.recommend(rows, seen, N=options["top"])
        seconds = time.process_time() - start
        pipe.answer(seconds=seconds, done=count * len(lists), parameters=0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
