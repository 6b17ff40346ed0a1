"""Which layers of unusable area a scene gets: the product's own, or the user's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from geoseg.errors import InputError, UsageError
from geoseg.io.masks import MaskSource, open_mask
from geoseg.io.scene import Scene, path_name
from geoseg.products.product import Product
from geoseg.quality import MaskRequest, parse_mask
from geoseg.settings import ReadSettings


def with_masks(scene: Scene, settings: ReadSettings, product: Product | None) -> Scene:
    """The scene with the masks of `--mask` and their buffer.

    Raises:
        UsageError: a request is malformed, or `none` stands beside others.
        InputMissingError, InputError: see `geoseg.io.masks.open_mask`; or a product whose quality layer has an
            unknown layout.
    """
    requests = [parse_mask(text) for text in settings.mask]
    asked = [request for request in requests if request is not None]
    if len(asked) < len(requests) and asked:
        raise UsageError(f"--mask none stands beside {len(asked)} other masks; leave it out.")
    masks = tuple(mask for request in asked for mask in _open(request, scene, product))
    notes = tuple(mask.describe() for mask in masks)
    return replace(scene, masks=masks, mask_buffer_m=settings.mask_buffer if masks else 0.0, notes=scene.notes + notes)


def own_and_common(
    requests: Sequence[str], products: Sequence[Product | None]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The masks of `--mask` that each scene of a mosaic has of its own, and those that are laid over all.

    Raises:
        UsageError: a request is malformed.
    """
    layers = {path_name(layer.path) for product in products if product is not None for layer in product.quality}
    parsed = {text: parse_mask(text) for text in requests}
    own = [text for text, mask in parsed.items() if mask is None or mask.file is None or mask.file in layers]
    return tuple(own), tuple(text for text in requests if text not in own)


def _open(request: MaskRequest, scene: Scene, product: Product | None) -> Iterator[MaskSource]:
    layers = () if product is None else product.quality
    if request.file is not None:
        # A layer of the product may be called by its name alone.
        within = next((layer.path for layer in layers if path_name(layer.path) == request.file), request.file)
        yield open_mask(replace(request, file=within), scene.grid)
        return
    for layer in layers:
        if layer.rule is None:
            name = path_name(layer.path)
            known = " or ".join(f"--mask {name}:{rule}" for rule in layer.choices)
            raise InputError(
                f"{name}: nothing says which of several layouts its bits have; name it ({known}), or --mask none."
            )
        yield open_mask(replace(request, file=layer.path, rule=layer.rule), scene.grid)
