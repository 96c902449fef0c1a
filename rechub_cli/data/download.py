"""Fetch a public data set into the cache; only ever when asked for."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from rechub_cli.errors import DataError

URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MD5 = "0e33842e24a9c977be4e0107933c0723"
"""As GroupLens publishes it beside the archive."""
FOLDER = "ml-100k"
MEMBERS = ("README", "u.data", "u.item", "u.user")
TIMEOUT_SECONDS = 60


def cache_dir() -> Path:
    """RECHUB_CACHE, else XDG_CACHE_HOME/rechub, else ~/.cache/rechub."""
    if own := os.environ.get("RECHUB_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rechub"


def download_ml_100k(cache: Path | None = None, *, url: str = URL, md5: str = MD5) -> Path:
    """Fetch, verify and unpack MovieLens 100k; its folder appears whole or not at all.

    cache: None is ``cache_dir()``. md5: of the archive, checked before it is opened.
    Returns the folder. Raises DataError: no download, another file, or an archive without the data.
    """
    cache = cache or cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as scratch:
        archive = Path(scratch) / "archive.zip"
        _fetch(url, archive)
        found = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(
                f"{url}: the MD5 is {found}, published is {md5}: the download is damaged or "
                "another file; nothing was kept. Try again, or unpack a copy of your own and set "
                "data.path"
            )
        _unpack(archive, Path(scratch), url)
        target = cache / FOLDER
        shutil.rmtree(target, ignore_errors=True)
        os.replace(Path(scratch) / FOLDER, target)
    return target


def _fetch(url: str, archive: Path) -> None:
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as source,
            archive.open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise DataError(
            f"{url} could not be downloaded ({error}); try again, or fetch it by hand, unpack it "
            "and set data.path to the folder"
        ) from None


def _unpack(archive: Path, folder: Path, url: str) -> None:
    try:
        with zipfile.ZipFile(archive) as zipped:
            for name in MEMBERS:
                zipped.extract(f"{FOLDER}/{name}", folder)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{url} is not the expected archive ({error}); nothing was kept") from None
