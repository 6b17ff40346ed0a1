"""What label values mean: values of rasters and fields → classes of the recipe; spellings that are surely one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from geoseg.training.chips import IGNORE
from geoseg.training.recipe import Recipe
from geoseg.training.recipe_data import LabelValue

UNKNOWN = -1


@dataclass(frozen=True)
class ValueTable:
    """Label value → class index, `IGNORE`, or nothing. The text of a number is that number."""

    index_of: Mapping[str, int]

    @classmethod
    def of(cls, recipe: Recipe) -> ValueTable:
        """The recipe's own classes and ignored values."""
        table = {str(value): IGNORE for value in recipe.ignore}
        table |= {str(value): index for index, row in enumerate(recipe.classes) for value in row.labels}
        return cls(table)

    def find(self, value: LabelValue | None) -> int:
        """Class index, `IGNORE` (also for None), or `UNKNOWN`."""
        return IGNORE if value is None else self.index_of.get(str(value), UNKNOWN)

    def find_all(self, codes: NDArray[np.int64]) -> NDArray[np.int16]:
        """`find` for an array of codes, of any shape."""
        distinct, where = np.unique(codes, return_inverse=True)
        found = np.array([self.find(int(code)) for code in distinct], np.int16)
        return found[where].reshape(codes.shape)

    def complaint(self, unknown: Counter[LabelValue]) -> str | None:
        """One sentence about values that the recipe does not name; None when there are none."""
        if not unknown:
            return None
        told = []
        for value, count in sorted(unknown.items(), key=lambda item: str(item[0])):
            alike = [known for known in self.index_of if folded(known) == folded(str(value))]
            near = alike or get_close_matches(str(value), self.index_of, n=1, cutoff=0.75)
            hint = f", like {near[0]!r}" if near else ""
            told.append(f"{value!r} ({count}{hint})")
        more = f" and {len(told) - 8} more" if len(told) > 8 else ""
        return (
            f"values that neither classes nor ignore names: {', '.join(told[:8])}{more}; add each to the labels of a "
            f"class, or to ignore"
        )


def folded(text: str) -> str:
    """A text without case and superfluous blanks."""
    return " ".join(text.casefold().split())


def spellings(values: Iterable[LabelValue | None]) -> dict[str, tuple[str, ...]]:
    """Texts that differ only by case or blanks: the commonest spelling → all of them, commonest first."""
    counts = Counter(value for value in values if isinstance(value, str))
    groups: dict[str, list[str]] = {}
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        groups.setdefault(folded(text), []).append(text)
    return {group[0]: tuple(group) for group in groups.values() if len(group) > 1}


def spelling_complaint(found: Mapping[str, tuple[str, ...]]) -> str | None:
    """One sentence with the mapping that a recipe would need; None when there is nothing to merge."""
    if not found:
        return None
    rows = "; ".join(f"labels: [{', '.join(map(repr, texts))}]" for texts in found.values())
    return f"names that differ only by case or blanks: {rows}; list them so in a recipe, or pass --merge-names"
