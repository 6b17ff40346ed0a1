"""What all parts of a training recipe share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Frozen(BaseModel):
    """A part of a recipe: unknown keys are errors, values stay; the docstring of a key is what users are shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
