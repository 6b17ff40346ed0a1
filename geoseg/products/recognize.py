"""What the paths that a user names are: a provider's product, a folder of bands, or plain rasters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError, InputMissingError, UsageError, without_secrets
from geoseg.products.assemble import assemble
from geoseg.products.claim import BandFile, Claim, claim
from geoseg.products.loose import nameless, rasters_in
from geoseg.products.preset import Preset, find_presets
from geoseg.products.product import Product
from geoseg.products.stac_source import is_stac
from geoseg.products.tree import Tree, archive_suffix, folder_of, tree_of

_NO_PRESET = "none"


@dataclass(frozen=True, kw_only=True)
class _Ask:
    """The question, with its presets at hand."""

    paths: tuple[str, ...]
    sensor: str
    """Without the variant."""
    presets: Mapping[str, Preset]
    variant: str | None
    assume_crs: str | None

    def answered_by(self, one: Claim) -> Product | None:
        """The product of a claim; None: it holds no band."""
        return assemble(one, variant=self.variant, assume_crs=self.assume_crs, paths=self.paths)


def recognize(
    paths: Sequence[str | Path], sensor: str = "auto", *, assume_crs: str | None = None, sign: str | None = None
) -> Product | None:
    """The product that some paths are, or None for plain rasters that no preset claims.

    Args:
        paths: one folder, zip, tar, metadata file (MTD_MSIL2A.xml, …_MTL.txt) or STAC item; or the raster files of one
            scene.
        sensor: `auto`; a preset's name, with `:VARIANT` where one is needed; a preset file `x.yaml`; or `none`,
            which takes all files for plain rasters.
        assume_crs: CRS for files without one, where files must be opened to tell their bands.
        sign: hook for addresses of a STAC item's assets, see `geoseg.io.signing`.

    Raises:
        UsageError: no such preset or variant, or a product beside other inputs.
        ConfigError: a malformed preset.
        InputMissingError: no such file.
        InputError: a folder or archive that is not understood, several scenes at once, damaged metadata.
        PolicyError: an archive or metadata that are not to be trusted.
    """
    named = tuple(str(path) for path in paths)
    container = next((path for path in named if is_stac(path) or _is_container(Path(without_secrets(path)))), None)
    if not named:
        return None
    if container is not None and is_stac(container) and len(named) == 1:
        from geoseg.products.stac_item import item_product  # brings rasterio

        return item_product(container, sensor, sign=sign, assume_crs=assume_crs)
    if sensor == _NO_PRESET:
        if container is not None:
            raise InputError(f"{container} is no raster file; leave --sensor none out, or name the files inside it.")
        return None
    if container is not None and len(named) > 1:
        raise UsageError(
            f"{container} is a scene by itself, but {len(named)} inputs are given; run each by itself (--each)."
        )
    name, _, variant = (sensor, "", "") if Path(sensor).suffix in {".yaml", ".yml"} else sensor.partition(":")
    ask = _Ask(paths=named, sensor=name, presets=find_presets(name), variant=variant or None, assume_crs=assume_crs)
    return _of_files(ask) if container is None else _of_tree(ask, _opened(Path(container)))


def _is_container(path: Path) -> bool:
    return path.is_dir() or archive_suffix(path.name) is not None or _is_metadata(path)


def _is_metadata(path: Path) -> bool:
    name = path.name.upper()
    return name.endswith("_MTL.TXT") or (name.startswith("MTD_MSI") and name.endswith(".XML"))


def _opened(path: Path) -> Tree:
    if not path.exists():
        raise InputMissingError(f"input {str(path)!r}: No such file or directory.")
    return tree_of(path.absolute().parent if _is_metadata(path) else path)


def _of_tree(ask: _Ask, tree: Tree) -> Product:
    """Presets that know the names first, then whatever the last words of the file names say."""
    claims = [one for name, preset in ask.presets.items() if (one := claim(tree, name, preset, None))]
    if len(claims) > 1:
        names = ", ".join(one.sensor for one in claims)
        raise InputError(f"{tree.root} could be {names}; say which with --sensor, or give each in a folder of its own.")
    rasters = rasters_in(tree.files)
    if not claims and rasters:
        ((name, preset),) = [(_NO_PRESET, nameless(rasters))] if ask.sensor == "auto" else ask.presets.items()
        claims = [_loose(tree, name, preset, rasters, alone=False)]
    product = ask.answered_by(claims[0]) if claims else None
    if product is None:
        which = "that geoseg knows" if ask.sensor == "auto" else f"of {ask.sensor}"
        raise InputError(
            f"{tree.root} is no product {which}: it holds {_content(tree)}; "
            f"name its sensor (--sensor NAME), or name the raster files of one scene with --stack."
        )
    return product


def _of_files(ask: _Ask) -> Product | None:
    """Named files: with a named preset by all means, without one only where a preset knows such single files."""
    tree, names = _beside(ask.paths)
    if ask.sensor == "auto":
        if len(ask.paths) != 1 or not Path(without_secrets(ask.paths[0])).is_file():
            return None
        singles = {name: preset for name, preset in ask.presets.items() if preset.single}
        claims = [one for name, preset in singles.items() if (one := claim(tree, name, preset, names))]
        return ask.answered_by(claims[0]) if len(claims) == 1 else None
    ((name, preset),) = ask.presets.items()
    product = ask.answered_by(claim(tree, name, preset, names) or _loose(tree, name, preset, names, alone=True))
    if product is None:
        raise InputError(
            f"{', '.join(Path(path).name for path in ask.paths)}: no band is described or named as one of {name}; "
            f"say what they are: --sensor none --bands red=3,… and --scale, --offset where they are not reflectance."
        )
    return product


def _beside(paths: Sequence[str]) -> tuple[Tree, list[str]]:
    """The files' folder and their names in it; files of several folders, or not on this disk, stand alone."""
    folders = {str(Path(path).absolute().parent) for path in paths}
    if len(folders) == 1 and all(Path(without_secrets(path)).is_file() for path in paths):
        tree = folder_of(Path(paths[0]))
        return tree, [Path(path).name for path in paths]
    return Tree(paths[0], "files", tuple(paths)), list(paths)


def _loose(tree: Tree, name: str, preset: Preset, files: Sequence[str], *, alone: bool) -> Claim:
    plain = tuple(BandFile(file=file, band=None, gsd_m=None) for file in files)
    return Claim(sensor=name, preset=preset, tree=tree, root="", alone=alone, files=plain)


def _content(tree: Tree) -> str:
    kinds = Counter(Path(file).suffix.lower() or "without suffix" for file in tree.files)
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common(4)) or "nothing"
