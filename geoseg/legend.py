"""Legends: what classes are called in the end, and which of a model's or a raster's classes each of them takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme, Color, LandClass, generated_color, placeholder
from geoseg.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Entry:
    """One class as a legend file gives it; what it leaves open comes from the class that it renames."""

    code: int
    name: str = ""
    """Empty: not said."""
    color: Color | None = None
    group: str = ""
    sources: tuple[str, ...] = ()
    """Names or codes of the classes that it takes; empty: the one of the same name, else of the same code."""
    thing: bool | None = None
    """Whether its regions are objects; None: not said."""


@dataclass(frozen=True)
class Merge:
    """A legend put onto the classes of a model or a raster."""

    scheme: ClassScheme
    """The classes that come out."""
    index_of: tuple[int, ...]
    """Source class index → output class index."""

    def __post_init__(self) -> None:
        if not all(0 <= index < len(self.scheme) for index in self.index_of):
            raise ValueError(f"indices {self.index_of} do not fit {len(self.scheme)} classes.")

    def scores(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Scores of the output classes: the sums of what each takes.

        Sums are taken in the order of the source classes, pixel by pixel, so that bytes do not depend on tiling.

        Args:
            scores: (class,row,col) of the source classes.

        Returns:
            (output class,row,col), of the same type; 0 where an output class takes nothing.

        Raises:
            ValueError: another number of classes.
        """
        if len(scores) != len(self.index_of):
            raise ValueError(f"scores of {len(scores)} classes for a legend on {len(self.index_of)}.")
        out = np.zeros((len(self.scheme), *scores.shape[1:]), scores.dtype)
        for layer, index in zip(scores, self.index_of, strict=True):
            out[index] += layer
        return out


@dataclass(frozen=True)
class Legend:
    """Output classes and where each of them comes from."""

    scheme: ClassScheme
    """The output classes."""
    sources: tuple[tuple[str, ...], ...]
    """For each output class the names, or codes as text, of the classes merged into it; (): the class of the same
    name, else of the same code."""
    name: str
    """Where the legend comes from, for messages."""
    unsaid: frozenset[tuple[int, str]] = frozenset()
    """(code, "name" or "color") that the file leaves open; a class that only renames keeps the source's."""
    first: Legend | None = None
    """Another legend that is put onto the classes before this one."""
    judged: frozenset[int] = frozenset()
    """Codes of which the file says whether they are things; any other is one where all that it takes are."""

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.scheme):
            raise ValueError(f"{len(self.sources)} lists of sources for {len(self.scheme)} classes.")
        taken = Counter(word for words in self.sources for word in {_folded(word) for word in words})
        twice = [word for word, count in taken.items() if count > 1]
        if twice:
            raise ConfigError(f"legend {self.name}: {twice[0]!r} is taken by two classes; leave it with one.")

    @classmethod
    def of(cls, entries: Iterable[Entry], name: str) -> Legend:
        """A legend of a file's entries; unsaid names and colors are generated from the code.

        Raises:
            ConfigError: no entries, or they contradict each other.
        """
        entries = tuple(entries)
        try:
            scheme = ClassScheme(
                tuple(
                    LandClass(
                        e.code,
                        e.name or placeholder(e.code),
                        generated_color(e.code) if e.color is None else e.color,
                        thing=bool(e.thing),
                        group=e.group,
                    )
                    for e in entries
                )
            )
        except ConfigError as error:
            raise ConfigError(f"legend {name}: {error}") from error
        unsaid = {(e.code, "name") for e in entries if not e.name}
        unsaid |= {(e.code, "color") for e in entries if e.color is None}
        judged = frozenset(e.code for e in entries if e.thing is not None)
        return cls(scheme, tuple(e.sources for e in entries), name, frozenset(unsaid), judged=judged)

    @property
    def meaning(self) -> list[Any]:
        """What it says, as plain JSON: two files that say the same are the same."""
        said = [
            self.scheme.to_json(),
            self.sources,
            sorted(self.unsaid),
            *([sorted(self.judged)] if self.judged else []),
        ]
        return [*said, None if self.first is None else self.first.meaning]

    def onto(self, source: ClassScheme) -> Merge:
        """Find the output class of every source class.

        A name fits exactly, else without regard to case and underscores; a listed source that is nobody's name and
        a number is a code. An output class without a list takes the class of its own name, else the class of its
        own code if no other takes that. Output classes that take nothing stay.

        Args:
            source: classes of a model or of a raster.

        Raises:
            ConfigError: a source class is taken by no output class, or by two.
        """
        if self.first is not None:
            return self._after(self.first.onto(source))
        taken = self._by_words(source)
        fed = set(taken.values())
        for output, code in enumerate(self.scheme.codes):
            same = source.codes.index(code) if code in source.codes else None
            if output not in fed and not self.sources[output] and same is not None:
                taken.setdefault(same, output)
        left = [c for index, c in enumerate(source.classes) if index not in taken]
        if left:
            raise ConfigError(self._leaves_out(left))
        return Merge(self._dressed(source, taken), tuple(taken[index] for index in range(len(source))))

    def _after(self, step: Merge) -> Merge:
        """This legend on the classes that an earlier one really made."""
        made = sorted(set(step.index_of))
        last = replace(self, first=None).onto(ClassScheme(tuple(step.scheme.classes[index] for index in made)))
        return Merge(last.scheme, tuple(last.index_of[made.index(index)] for index in step.index_of))

    def _by_words(self, source: ClassScheme) -> dict[int, int]:
        """Source index → output index, of all classes that are named."""
        taken: dict[int, int] = {}
        for output, words in enumerate(self.sources):
            for word in words or (self.scheme.names[output],):
                index = _find(word, source, codes=bool(words))
                if index is not None and taken.setdefault(index, output) != output:
                    one, other = self.scheme.names[taken[index]], self.scheme.names[output]
                    raise ConfigError(
                        f"legend {self.name}: both {one!r} and {other!r} take the class "
                        f"{source.names[index]!r} ({source.codes[index]}); leave it with one of them."
                    )
        return taken

    def _dressed(self, source: ClassScheme, taken: dict[int, int]) -> ClassScheme:
        """The output classes, with what the legend leaves open filled in from the source."""
        origins: dict[int, list[LandClass]] = {}
        for index, output in sorted(taken.items()):
            origins.setdefault(output, []).append(source.classes[index])
        try:
            return ClassScheme(tuple(self._filled(n, origins.get(n, [])) for n in range(len(self.scheme))))
        except ConfigError as error:
            raise ConfigError(f"legend {self.name}: {error}") from error

    def _filled(self, output: int, origins: list[LandClass]) -> LandClass:
        meant = self.scheme.classes[output]
        if not origins:
            return meant
        if meant.code not in self.judged:
            meant = replace(meant, thing=all(origin.thing for origin in origins))
        if self.sources[output]:
            return meant
        origin = origins[0]
        return replace(
            meant,
            name=origin.name if (meant.code, "name") in self.unsaid else meant.name,
            color=origin.color if (meant.code, "color") in self.unsaid else meant.color,
            group=meant.group or origin.group,
        )

    def _leaves_out(self, left: list[LandClass]) -> str:
        listed = ", ".join(f"{c.code} {c.name!r}" for c in left[:5]) + (" …" if len(left) > 5 else "")
        advice = "list it under `from` of a class (YAML, CSV) or add a class of its name or code"
        if any(self.sources) and all(c.name == placeholder(c.code) for c in left):
            advice += f"; codes without names are named first by --legend NAMES+{self.name}, such as worldcover or nlcd"
        elif any(c.code == 0 and c.name == placeholder(0) for c in left):
            advice += "; if 0 means nothing, declare it as nodata (gdal_edit.py -a_nodata 0)"
        return f"legend {self.name} takes no class {listed}: {advice}."


def _find(word: str, source: ClassScheme, *, codes: bool) -> int | None:
    """Index of the class that a word means."""
    if word in source.names:
        return source.names.index(word)
    alike = [index for index, name in enumerate(source.names) if _folded(name) == _folded(word)]
    if len(alike) == 1:
        return alike[0]
    if codes and word.isascii() and word.isdigit() and int(word) in source.codes:
        return source.codes.index(int(word))
    return None


def _folded(name: str) -> str:
    """A name without case, underscores and doubled blanks."""
    return " ".join(name.replace("_", " ").casefold().split())
