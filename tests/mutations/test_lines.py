"""Mutations speak of lines that are there; fast, where `make mutations` takes minutes."""

from __future__ import annotations

import pytest

from tests.mutations.test_mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_the_line_of_a_mutation_is_in_the_code(mutation: Mutation) -> None:
    text = (ROOT / "rechub_cli" / mutation.file).read_text()
    assert mutation.old in text, "the line has changed: renew the mutation"
