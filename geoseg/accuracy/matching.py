"""Which class of a map is meant by each class of a reference: by code, by name, or as the user says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from geoseg.classes import ClassScheme, LandClass, placeholder
from geoseg.errors import ConfigError, UsageError

NOT_COUNTED = "none"
"""What `--map` calls reference classes that shall not count."""
_LISTED = 5


@dataclass(frozen=True)
class Matched:
    """Classes that a comparison distinguishes, and where those of the reference went."""

    scheme: ClassScheme
    """The map's classes, then those that only the reference has."""
    index_of: Mapping[int, int]
    """Code of the reference → index; codes that are not there do not count."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """The classes of a reference."""

    scheme: ClassScheme
    occurring: Collection[int]
    """Codes that really occur; others are only listed and need no match."""
    codes_mean: bool = True
    """False: the codes only number names that the reference was given as text."""

    @property
    def classes(self) -> list[LandClass]:
        """The classes that occur."""
        return [c for c in self.scheme.classes if c.code in self.occurring]

    def listed(self, classes: Sequence[LandClass] | None = None) -> str:
        """Some classes (default: all that occur) for a message."""
        classes = self.classes if classes is None else classes
        return _list(classes) if self.codes_mean else _shortened([repr(c.name) for c in classes])


def read_pairs(text: str) -> dict[str, str]:
    """`11=80,forest=10,99=none` → reference class (code or name) → class of the map.

    Raises:
        UsageError: any other form, or a class given twice.
    """
    pairs: dict[str, str] = {}
    for part in text.split(","):
        left, equals, right = (word.strip() for word in part.partition("="))
        if not (left and equals and right) or "=" in right:
            raise UsageError(
                f"--map {part.strip()!r} is not of the form REFERENCE=MAP: 11=80,forest=10,99={NOT_COUNTED}."
            )
        if pairs.setdefault(left, right) != right:
            raise UsageError(f"--map gives {left!r} twice, as {pairs[left]!r} and {right!r}: leave one.")
    return pairs


def match(own: ClassScheme, reference: Reference, pairs: Mapping[str, str] | None = None) -> Matched:
    """Find the class of the map that each class of the reference means.

    With pairs as they say, and each class that occurs must be among them. Else codes mean codes, and text means the
    class of exactly that name, or of that code if it is a number.

    Args:
        own: the map's classes.
        reference: the reference's.
        pairs: reference class (name, else code) → name or code of the map's, or `none`; a code that the map has not
            is a class of the reference alone.

    Raises:
        ConfigError: a class has no match, pairs name one that is not there, or codes contradict names.
    """
    if pairs is not None:
        targets = _as_told(own, reference, pairs)
    elif reference.codes_mean:
        targets = {c.code: c.code for c in reference.classes}
        _check_codes(own, reference)
    else:
        targets = {c.code: _of_text(own, c.name) for c in reference.classes}
    if pairs is None and not set(targets.values()) & set(own.codes):
        raise ConfigError(_nothing_in_common(own, reference))
    found = _matched(own, reference, targets)
    told = _other_names(own, reference, targets) if pairs is None else []
    return replace(found, warnings=(*told, *found.warnings))


def _matched(own: ClassScheme, reference: Reference, targets: Mapping[int, int | None]) -> Matched:
    """The union of the classes, the map's first."""
    names = {c.code: c.name for c in reference.classes if reference.codes_mean and targets.get(c.code) == c.code}
    union = [_named(c, names.get(c.code), own) for c in own.classes]
    alone = sorted({code for code in targets.values() if code is not None and code not in own.codes})
    for code in alone:
        there = next((c for c in reference.scheme.classes if c.code == code and reference.codes_mean), None)
        taken = {c.name for c in union}
        made = there or LandClass(code, placeholder(code), (128, 128, 128))
        union.append(replace(made, code=code, name=f"{made.name} ({code})" if made.name in taken else made.name))
    scheme = ClassScheme(tuple(union))
    index_of = {code: scheme.codes.index(target) for code, target in targets.items() if target is not None}
    return Matched(scheme, index_of, tuple(_alone(scheme, alone)))


def _named(own: LandClass, name: str | None, scheme: ClassScheme) -> LandClass:
    """A class that the map only numbers takes the reference's name."""
    if name is None or own.name != placeholder(own.code) or name in scheme.names:
        return own
    return replace(own, name=name)


def _as_told(own: ClassScheme, reference: Reference, pairs: Mapping[str, str]) -> dict[int, int | None]:
    targets: dict[int, int | None] = {}
    for left, right in pairs.items():
        code = _find(reference.scheme, left, codes=reference.codes_mean)
        if code is None:
            raise ConfigError(f"--map: the reference has no class {left!r}, but {reference.listed()}.")
        if code in targets:
            raise ConfigError(f"--map gives the reference's class {left!r} twice, by name and by code: leave one.")
        targets[code] = None if right == NOT_COUNTED else _target(own, right)
    left_out = [c for c in reference.classes if c.code not in targets]
    if left_out:
        raise ConfigError(
            f"--map leaves out {reference.listed(left_out)} of the reference; give each a class of the map, "
            f"or {NOT_COUNTED}."
        )
    return targets


def _target(own: ClassScheme, word: str) -> int:
    code = _find(own, word, codes=True)
    if code is not None:
        return code
    if word.isascii() and word.isdigit():
        return int(word)
    raise ConfigError(f"--map: the map has no class {word!r}, but {_list(own.classes)}.")


def _find(scheme: ClassScheme, word: str, *, codes: bool) -> int | None:
    """Code of the class that a word means: its exact name, else its code."""
    if word in scheme.names:
        return scheme.codes[scheme.names.index(word)]
    if codes and word.isascii() and word.isdigit() and int(word) in scheme.codes:
        return int(word)
    return None


def _of_text(own: ClassScheme, text: str) -> int:
    code = _find(own, text, codes=True)
    if code is not None:
        return code
    alike = [name for name in own.names if _folded(name) == _folded(text)]
    if alike:
        raise ConfigError(
            f"the reference says {text!r}, the map {alike[0]!r}: names must agree letter by letter; "
            f"correct the reference, or give every class of it with --map '{text}={alike[0]},…'."
        )
    raise ConfigError(
        f"the reference's class {text!r} is none of the map's, which has {_list(own.classes)}; "
        f"give every class of the reference with --map '{text}=…' ({NOT_COUNTED}: it shall not count)."
    )


def _check_codes(own: ClassScheme, reference: Reference) -> None:
    """Refuse codes whose names say that they mean something else."""
    for c in reference.classes:
        if c.name == placeholder(c.code) or c.code not in own.codes:
            continue
        there = own.by_code(c.code).name
        same = [o for o in own.classes if _folded(o.name) == _folded(c.name)]
        if same and same[0].code != c.code:
            raise ConfigError(
                f"code {c.code} is {c.name!r} in the reference and {there!r} in the map, which has {same[0].name!r} "
                f"as {same[0].code}: say what is what with --map '{_by_names(own, reference)}'."
            )


def _by_names(own: ClassScheme, reference: Reference) -> str:
    """A `--map` as the names suggest it."""
    codes = {_folded(c.name): c.code for c in own.classes}
    return ",".join(f"{c.code}={codes.get(_folded(c.name), '…')}" for c in reference.classes)


def _nothing_in_common(own: ClassScheme, reference: Reference) -> str:
    return (
        f"the reference ({reference.listed()}) and the map ({_list(own.classes)}) have no class code in common: "
        f"say what is what with --map '{_by_names(own, reference)}', or with --legend."
    )


def _other_names(own: ClassScheme, reference: Reference, targets: Mapping[int, int | None]) -> list[str]:
    """Classes of one code that are called differently."""
    if not reference.codes_mean:
        return []
    differ = [
        f"{c.code} is {own.by_code(c.code).name!r} in the map, {c.name!r} in the reference"
        for c in reference.classes
        if targets.get(c.code) == c.code and c.code in own.codes and _differ(own.by_code(c.code), c)
    ]
    more = " …" if len(differ) > _LISTED else ""
    return [f"compared by code although names differ: {'; '.join(differ[:_LISTED])}{more}"] if differ else []


def _differ(own: LandClass, other: LandClass) -> bool:
    unnamed = placeholder(own.code)
    return unnamed not in (own.name, other.name) and _folded(own.name) != _folded(other.name)


def _alone(scheme: ClassScheme, codes: Sequence[int]) -> list[str]:
    if not codes:
        return []
    listed = _list([scheme.by_code(code) for code in codes])
    return [f"the map has no {listed}: reference pixels of these all count as wrong (--map can leave them out)"]


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _list(classes: Sequence[LandClass]) -> str:
    return _shortened([c.name if c.name == placeholder(c.code) else f"{c.code} {c.name!r}" for c in classes])


def _shortened(words: Sequence[str]) -> str:
    return ", ".join(words[:_LISTED]) + (" …" if len(words) > _LISTED else "")
