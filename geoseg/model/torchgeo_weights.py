"""The segmentation networks among TorchGeo's published weights: where their files are, and their contracts.

Facts are those of `torchgeo.models.Unet_Weights` (bands in order, transforms, classes, licences), written down so that
neither listing nor running such a model needs TorchGeo. Addresses are of TorchGeo's main branch after its pull request
3929: those of 0.8.1 end in digits that are no checksum of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from geoseg.classes import ClassScheme, LandClass
from geoseg.model.spec import Architecture, Band, ModelSpec

PREFIX = "torchgeo:"
_ENUM = "Unet_Weights"
_STRIDE = 32
_HUB = "https://hf.co"
_FTW = f"{_HUB}/torchgeo/ftw/resolve"
_PRUE = f"{_HUB}/isaaccorley/ftw-prue/resolve/c2d73d8478415db89b51e7635c1d2722e1056c29"
_PRUE_CCBY = f"{_HUB}/isaaccorley/ftw-prue-ccby/resolve"
_TCD = f"{_HUB}/isaaccorley"
_MEGABYTES = {
    "efficientnet-b3": 53,
    "efficientnet-b5": 126,
    "efficientnet-b7": 270,
    "resnet18": 57,
    "resnet34": 98,
    "resnet50": 130,
}
"""Of a U-Net's float32 tensors, by its encoder."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What networks trained on one data set have in common."""

    bands: tuple[Band, ...]
    unit: Literal["reflectance", "dn"]
    gsd_m: float
    chip: int
    margin: int
    """A careful guess (FTW's own tool trims 64); `geoseg models margin` measures it once the weights are here."""
    attribution: str
    purpose: str
    data: str
    """Name of the data set."""


@dataclass(frozen=True, kw_only=True)
class TorchGeoWeights:
    """One member of TorchGeo's enumeration."""

    member: str
    url: str
    """At a fixed commit of the hub."""
    sha256: str | None
    """First digits of the file's checksum, as its name tells them; None: the publisher states none."""
    encoder: str
    family: Family
    classes: ClassScheme
    license: str
    """As TorchGeo states it."""
    data_license: str
    """Of what it was trained on."""

    @property
    def name(self) -> str:
        """What `-m` takes."""
        return f"{PREFIX}{_ENUM}.{self.member}"

    @property
    def megabytes(self) -> int:
        """Size of the tensors, and nearly that of the file."""
        return _MEGABYTES[self.encoder]

    def spec(self) -> ModelSpec:
        """The contract."""
        family = self.family
        data: dict[str, Any] = {"name": family.data, "license": self.data_license, "attribution": family.attribution}
        return ModelSpec(
            name=self.member.lower(),
            version="1",
            license=self.license,
            attribution=f"{family.attribution}; weights published with TorchGeo ({_ENUM}.{self.member})",
            architecture=Architecture(name="unet", encoder=self.encoder),
            bands=family.bands,
            classes=self.classes,
            gsd_m=(family.gsd_m, family.gsd_m),
            chip=family.chip,
            stride=_STRIDE,
            margin=family.margin,
            unit=family.unit,
            purpose=family.purpose,
            training_data=(data,),
        )


_S2_REFLECTANCE_1 = 1e4
"""DN of reflectance 1 in Sentinel-2's files, without the +1000 of processing baseline 04.00."""
_FTW_BANDS = tuple(
    Band(name=f"{color}@{date}", mean=0.0, std=3000.0, scale=_S2_REFLECTANCE_1, plausible=(-0.2, 2.0))
    for date in (1, 2)
    for color in ("red", "green", "blue", "nir")
)
FIELDS = Family(
    bands=_FTW_BANDS,
    unit="reflectance",
    gsd_m=10.0,
    chip=512,
    margin=64,
    attribution="Fields of The World (FTW), Kerner et al. 2024, arXiv 2409.16252",
    purpose=(
        "Field boundaries from two Sentinel-2 level 2A dates of one season at 10 m: @1 around harvest (FTW's "
        "window B), @2 around planting (window A)."
    ),
    data="Fields of The World, Sentinel-2 chips of 24 countries",
)
TREES = Family(
    # TorchGeo's transform only brings images to 1024 pixels: the network sees stored 8-bit numbers.
    bands=tuple(Band(name=color, mean=0.0, std=1.0, plausible=(0.0, 255.0)) for color in ("red", "green", "blue")),
    unit="dn",
    gsd_m=0.1,
    chip=1024,
    margin=128,
    attribution="OAM-TCD, Veitch-Michaelis et al. 2024, arXiv 2407.11743",
    purpose="Tree canopy from 8-bit true-color aerial images of 0.1 m.",
    data="OAM-TCD, OpenAerialMap images",
)
ROADS = Family(
    bands=tuple(
        Band(name=color, mean=0.0, std=255.0, plausible=(0.0, 255.0)) for color in ("red", "green", "blue", "nir")
    ),
    unit="dn",
    gsd_m=1.0,
    chip=512,
    margin=64,
    attribution="ChesapeakeRSC, Robinson et al. 2024, arXiv 2401.06762",
    purpose="Rural roads, under trees too, from 8-bit NAIP images of 1 m in the Chesapeake Bay area.",
    data="ChesapeakeRSC, NAIP images",
)

_BACKGROUND = LandClass(0, "background", (225, 225, 225))
_FIELD = LandClass(1, "field", (250, 210, 80), thing=True)
_TWO = ClassScheme((_BACKGROUND, _FIELD))
_THREE = ClassScheme((_BACKGROUND, _FIELD, LandClass(2, "boundary", (120, 60, 20))))
_TREE_CANOPY = ClassScheme((_BACKGROUND, LandClass(1, "tree-canopy", (57, 125, 73))))
_ROAD = ClassScheme((_BACKGROUND, LandClass(1, "road", (196, 40, 27))))
_OPEN = "CC-BY-4.0"
_MIXED = "mixed, part of it non-commercial"


def _fields(
    member: str, url: str, sha256: str | None, *, encoder: str = "b3", classes: ClassScheme = _THREE, open_data: bool
) -> TorchGeoWeights:
    return TorchGeoWeights(
        member=member,
        url=url,
        sha256=sha256,
        encoder=f"efficientnet-{encoder}",
        family=FIELDS,
        classes=classes,
        license=_OPEN if open_data else "non-commercial",
        data_license=_OPEN if open_data else _MIXED,
    )


def _trees(encoder: str, commit: str, sha256: str) -> TorchGeoWeights:
    file = f"unet_{encoder}_oam_rgb_tcd"
    return TorchGeoWeights(
        member=f"OAM_RGB_{encoder.upper()}_TCD",
        url=f"{_TCD}/{file}/resolve/{commit}/{file}-{sha256}.pth",
        sha256=sha256,
        encoder=encoder,
        family=TREES,
        classes=_TREE_CANOPY,
        license="CC-BY-NC-4.0",
        data_license="mixed Creative Commons licences, part of them non-commercial",
    )


_ALL = (
    _fields(
        "SENTINEL2_2CLASS_FTW",
        f"{_FTW}/2ff807f35ec4e04ab329cd66de6117d8b4c26578/commercial/2-class/sentinel2_unet_effb3-3ce575ed.pth",
        "3ce575ed",
        classes=_TWO,
        open_data=True,
    ),
    _fields(
        "SENTINEL2_3CLASS_FTW",
        f"{_FTW}/d85ee8487a1b513bceaa747d11ad48aa63519f61/commercial/3-class/sentinel2_unet_effb3-74f7eb81.pth",
        "74f7eb81",
        open_data=True,
    ),
    _fields(
        "SENTINEL2_2CLASS_NC_FTW",
        f"{_FTW}/3224ec89837c6b051b796f329a59dbd44efbf81f/noncommercial/2-class/sentinel2_unet_effb3-2bbd554b.pth",
        "2bbd554b",
        classes=_TWO,
        open_data=False,
    ),
    _fields(
        "SENTINEL2_3CLASS_NC_FTW",
        f"{_FTW}/71f0b677a3ac8fd00bc08f61106fe8d8f70ce158/noncommercial/3-class/sentinel2_unet_effb3-364c657c.pth",
        "364c657c",
        open_data=False,
    ),
    _fields("SENTINEL2_FTW_PRUE_EFNETB3", f"{_PRUE}/prue_efnet3.pth", None, open_data=False),
    _fields("SENTINEL2_FTW_PRUE_EFNETB5", f"{_PRUE}/prue_efnet5.pth", None, encoder="b5", open_data=False),
    _fields("SENTINEL2_FTW_PRUE_EFNETB7", f"{_PRUE}/prue_efnet7.pth", None, encoder="b7", open_data=False),
    _fields(
        "SENTINEL2_FTW_PRUE_CCBY_EFNETB3",
        f"{_PRUE_CCBY}/ebd2a7948ac1aad45eadd1d47abc6f63260843bc/prue_efnetb3_ccby-b35d59a6.pth",
        "b35d59a6",
        open_data=True,
    ),
    _fields(
        "SENTINEL2_FTW_PRUE_CCBY_EFNETB5",
        f"{_PRUE_CCBY}/9d54aff1c6b903fb9f308dbcb5cba6b98c87a336/prue_efnetb5_ccby-4fd92b24.pth",
        "4fd92b24",
        encoder="b5",
        open_data=True,
    ),
    _fields(
        "SENTINEL2_FTW_PRUE_CCBY_EFNETB7",
        f"{_PRUE_CCBY}/59f3136ceb4904dba8eda40e0168b206071cbe6b/prue_efnetb7_ccby-4bfbbbde.pth",
        "4bfbbbde",
        encoder="b7",
        open_data=True,
    ),
    _trees("resnet34", "064afa3dae671d62200cd34566617a02a107d4c3", "3e2a4603"),
    _trees("resnet50", "74a8e34652e9bcd08af24d98195c6610edeb80da", "c648cc7d"),
    TorchGeoWeights(
        member="NAIP_RGBN_RESNET18_CHESAPEAKERSC",
        url=f"{_HUB}/isaaccorley/chesapeakersc/resolve/f237c88706903ae522410ecd0688ef307e3d95a7/unet-resnet18-829a85c5.pth",
        sha256="829a85c5",
        encoder="resnet18",
        family=ROADS,
        classes=_ROAD,
        license="MIT",
        data_license="not stated",
    ),
)
TORCHGEO = {weights.name: weights for weights in _ALL}
"""What `-m` takes → weights."""
