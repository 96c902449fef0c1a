"""``rechub data NAME``: fetch a public data set into the cache, only when asked."""

from __future__ import annotations

from rechub_cli.errors import RechubError
from rechub_cli.suggest import did_you_mean

NAMES = ("ml_100k",)


def run(words: list[str]) -> None:
    """Download, verify and unpack. Raises RechubError for another name than those of NAMES."""
    if len(words) != 1 or words[0] not in NAMES:
        found = " ".join(words) or "nothing"
        raise RechubError(
            f"rechub data takes one name, found {found}; allowed: {', '.join(NAMES)}."
            + did_you_mean(found, NAMES)
        )
    from rechub_cli.data.ml_100k import download_ml_100k, read_ml_100k

    folder = download_ml_100k()
    raw = read_ml_100k(folder)  # parsed and held against its canonical hash
    print(f"ml_100k is in {folder}: {raw.interactions.num_rows:,} interactions")
    for note in raw.notes:
        print(f"note: {note}")
