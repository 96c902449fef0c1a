"""What every node of the config has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class Node(BaseModel):
    """A node of the config: unknown keys and other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def refuse(*problems: tuple[bool, str]) -> None:
    """Raise one ValueError of all ``key|what is wrong`` texts whose condition holds."""
    texts = [text for wrong, text in problems if wrong]
    if texts:
        raise ValueError("\n".join(texts))
