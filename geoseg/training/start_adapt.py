"""A start's tensors made to fit a recipe's network: other bands, other classes, and what is left as it was built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geoseg.errors import ConfigError
from geoseg.model.build import ALIASES, build_network
from geoseg.model.spec import Architecture
from geoseg.training.recipe import Recipe
from geoseg.training.spectra import Estimate, estimate
from geoseg.training.start_bands import mix_bands
from geoseg.training.start_model import ENCODER, Start

Tensors = dict[str, Tensor]

_FORMS = {"dynamicworld": ("lean", "hidden")}
"""Options that leave all tensors but the head's as they are."""
_HEAD = "head."


@dataclass(frozen=True)
class Adapted:
    """Weights to begin with, and where they come from."""

    tensors: Tensors
    """All of the network, by its own names."""
    reused: int
    """Tensors taken as they are."""
    adapted: int
    """Tensors made for other bands or classes, of those of the start as far as they serve."""
    fresh: int
    """Tensors as they were built."""
    bands: tuple[str, ...]
    """For people: bands whose weights are made of others'."""
    classes: tuple[str, ...]
    """Classes that kept their rows."""


@dataclass(frozen=True)
class _Axes:
    """Along which axis a tensor grows with bands or classes; others do not."""

    bands: dict[str, int]
    classes: dict[str, int]


def adapt(start: Start, recipe: Recipe, fresh: Mapping[str, Tensor]) -> Adapted:
    """Weights for the recipe's network.

    Args:
        start: with named bands.
        recipe: names network, bands and classes.
        fresh: all tensors of the network as it was built, for what cannot be taken over.

    Raises:
        ConfigError: the start is another network.
    """
    check_architecture(start, recipe.architecture())
    axes, matched = _axes(recipe, fresh), _matched(start, recipe.architecture(), fresh)
    wanted = [band.name for band in recipe.bands]
    rows = shared_classes(start, recipe) if axes.classes.keys() & matched.keys() else {}
    biases = {} if list(start.bands) == wanted else _biases(axes, matched)
    mix = mix_bands(start.bands, wanted, _estimates(start, recipe, constant=len(biases) == len(axes.bands)))
    biases = biases if mix.constants.any() else {}
    everything = {number: number for number in range(len(recipe.classes))}
    mixes = {} if list(start.bands) == wanted else axes.bands
    picks = {} if rows == everything and len(rows) == start.n_classes else axes.classes
    taken: Tensors = {}
    for name, theirs in matched.items():
        if name in axes.classes and not rows:
            continue
        own, tensor = fresh[name], theirs
        if name in mixes:
            tensor = _mixed(tensor, torch.from_numpy(mix.matrix), mixes[name])
        if name in biases:
            tensor = _shifted(tensor, matched[biases[name]], torch.from_numpy(mix.constants), mixes[biases[name]])
        if name in picks:
            tensor = _rows(tensor, own, rows, picks[name])
        if tensor.shape != own.shape:
            raise ConfigError(_misfit(start, recipe.architecture(), name, theirs, own))
        taken[name] = tensor.to(own.dtype)
    adapted = sum(name in mixes or name in biases or name in picks for name in taken)
    kept = tuple(recipe.classes[row].name for row in rows)
    return Adapted({**fresh, **taken}, len(taken) - adapted, adapted, len(fresh) - len(taken), mix.said, kept)


def check_architecture(start: Start, wanted: Architecture) -> None:
    """Refuse a start that is another network than the recipe's.

    Raises:
        ConfigError: saying what the start is.
    """
    if start.architecture is None or _plain(start.architecture) == _plain(wanted):
        return
    raise ConfigError(
        f"fit.start {start.name} is {_words(start.architecture)}, the recipe's network is {_words(wanted)}; "
        f"make them equal, or leave out network to take over the start's."
    )


def shared_classes(start: Start, recipe: Recipe) -> dict[int, int]:
    """Class of the recipe → class of the start with the same meaning.

    Names decide. Codes count, too, for classes that were merely renamed, where all names that both have carry the
    same codes: then both use one table of codes.
    """
    theirs = {_key(name): number for number, name in enumerate(start.classes)}
    rows = {row: theirs[_key(own.name)] for row, own in enumerate(recipe.classes) if _key(own.name) in theirs}
    if rows and start.codes and all(recipe.classes[row].code == start.codes[number] for row, number in rows.items()):
        free = {code: number for number, code in enumerate(start.codes) if number not in rows.values()}
        rows |= {row: free[own.code] for row, own in enumerate(recipe.classes) if row not in rows and own.code in free}
    return dict(sorted(rows.items()))


def _axes(recipe: Recipe, fresh: Mapping[str, Tensor]) -> _Axes:
    """Found by building the network for one band, or one class, more: no list of layer names could be complete."""
    arch, bands, classes = recipe.architecture(), len(recipe.bands), len(recipe.classes)

    def growing(network: torch.nn.Module) -> dict[str, int]:
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        pairs = {name: list(zip(tensor.shape, shapes[name], strict=True)) for name, tensor in fresh.items()}
        return {n: axis for n, sides in pairs.items() for axis, (old, new) in enumerate(sides) if old != new}

    with torch.random.fork_rng(devices=()):
        wider, richer = (build_network(arch, bands + 1, classes), build_network(arch, bands, classes + 1))
    return _Axes(growing(wider), growing(richer))


def _biases(axes: _Axes, matched: Mapping[str, Tensor]) -> dict[str, str]:
    """Bias → weights, of the layers that see the bands."""
    pairs = {weights.removesuffix("weight") + "bias": weights for weights in axes.bands}
    return {bias: weights for bias, weights in pairs.items() if bias in matched}


def _estimates(start: Start, recipe: Recipe, *, constant: bool) -> dict[str, Estimate]:
    """Bands of the start that the recipe has not, estimated from those that a scene must have, normalized as there.

    A band that the start can do without is not missed.
    """
    known = start.normalization
    if recipe.fit.restandardize or start.unit != recipe.model.unit:
        return {}
    there = {n: known[b.name] for n, b in enumerate(recipe.bands) if b.name in known and not b.optional}
    lacking = set(start.bands) - {band.name for band in recipe.bands}
    out = {}
    for name in start.bands:
        if name in lacking and name in known and not known[name].optional:
            found = estimate(known[name], list(there.values()), constant=constant)
            if found is not None:
                shares = np.zeros(len(recipe.bands))
                shares[list(there)] = found.shares
                out[name] = replace(found, shares=shares)
    return out


def _matched(start: Start, arch: Architecture, fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The start's tensors by the network's names.

    Raises:
        ConfigError: a tensor of the network, or of its encoder, has none.
    """
    if start.architecture is not None:
        own_head = arch.options.get("hidden") != start.architecture.options.get("hidden")
        needed = {name for name in fresh if not (own_head and name.startswith(_HEAD))}
        found = {name: start.tensors[name] for name in needed if name in start.tensors}
    else:
        by_name = {_flat(name): tensor for name, tensor in start.tensors.items()}
        ours = {name: _flat(name.removeprefix(ENCODER)) for name in fresh if name.startswith(ENCODER)}
        found = {name: by_name[flat] for name, flat in ours.items() if flat in by_name}
        # Some publishers left out the counters of batch norms.
        needed = {name for name in ours if fresh[name].is_floating_point()}
    missing = sorted(needed - set(found))
    if missing or not found:
        raise ConfigError(
            f"fit.start {start.name} does not fit {_words(arch)}: it holds {len(found)} of {len(needed)} tensors, "
            f"not {missing[0] if missing else 'one of an encoder'}; say the architecture and encoder that it was "
            f"made for."
        )
    return found


def _flat(name: str) -> str:
    """Names of nested modules are joined by `_` in timm's feature encoders, which smp puts into `model`."""
    return name.removeprefix("module.").removeprefix("model.").replace(".", "_")


def _mixed(tensor: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Shares (wanted, start) of a tensor along its axis of bands; in float64, so that a share of 1 copies bits."""
    mixed: Tensor = torch.tensordot(matrix, tensor.double(), dims=([1], [axis])).movedim(0, axis)
    return mixed.to(tensor.dtype).contiguous()


def _shifted(bias: Tensor, weights: Tensor, constants: Tensor, axis: int) -> Tensor:
    """A layer's bias (output,) with the constant parts (start band,) of estimated inputs added."""
    found: Tensor = torch.tensordot(constants, weights.double(), dims=([0], [axis]))
    return (bias.double() + found.flatten(1).sum(dim=1)).to(bias.dtype)


def _rows(theirs: Tensor, own: Tensor, rows: Mapping[int, int], axis: int) -> Tensor:
    """The network's own tensor with some rows of the start's."""
    out = own.clone().to(theirs.dtype)
    ours, others = (torch.tensor(list(numbers)) for numbers in (rows.keys(), rows.values()))
    return out.index_copy(axis, ours, theirs.index_select(axis, others))


def _misfit(start: Start, arch: Architecture, name: str, theirs: Tensor, own: Tensor) -> str:
    return (
        f"fit.start {start.name} does not fit {_words(arch)}: its tensor {name} is {_sides(theirs.shape)}, not "
        f"{_sides(own.shape)}; say the architecture, encoder and options that it was made for."
    )


def _plain(arch: Architecture) -> tuple[object, ...]:
    """What makes an architecture another one."""
    options = {key: value for key, value in arch.options.items() if key not in _FORMS.get(arch.name, ())}
    return ALIASES.get(arch.name, arch.name), arch.encoder, options


def _words(arch: Architecture) -> str:
    encoder = f" with encoder {arch.encoder}" if arch.encoder else ""
    options = ", ".join(f"{key} {value}" for key, value in sorted(arch.options.items()))
    return f"{arch.name}{encoder}" + (f" ({options})" if options else "")


def _sides(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
