"""How fast the product is, in ratios: ``make bench``, ``make bench-peers``, and the comparison."""

import os

from rechub_cli.shell.waiting import choose_waiting

choose_waiting(os.environ)  # as ``rechub`` does, before torch is imported
