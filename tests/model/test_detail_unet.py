"""What the full-resolution connection of `DetailUnet` brings, and that it is built like any network."""

import pytest
import torch

from geoseg.errors import ConfigError
from geoseg.model.build import build_network
from geoseg.model.detail_unet import DetailUnet
from geoseg.model.spec import Architecture

OPTIONS = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
REACH = 3
"""The last block's two convolutions and the head's, 3 × 3 each."""


def network(**options) -> torch.nn.Module:
    torch.manual_seed(3)
    return build_network(Architecture(name="unet", encoder="resnet18", options=OPTIONS | options), 2, 3).double().eval()


def seen(net: torch.nn.Module, row: int, col: int) -> set[tuple[int, int]]:
    """Pixels whose answer changes with one pixel of the image."""
    image = torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    other = image.clone()
    other[0, :, row, col] += 1
    with torch.no_grad():
        rows, cols = (net(image) != net(other)).any(dim=1)[0].nonzero(as_tuple=True)
    return set(zip(rows.tolist(), cols.tolist(), strict=True))


def blind(net: torch.nn.Module) -> torch.nn.Module:
    """The same with an encoder that says nothing."""
    for weight in net.encoder.parameters():
        torch.nn.init.zeros_(weight)
    return net


@pytest.mark.parametrize(("row", "col"), [(16, 16), (17, 16), (5, 30)])
def test_single_pixels_reach_the_answer_beside_the_encoder(row, col) -> None:
    around = {(r, c) for r in range(32) for c in range(32) if max(abs(r - row), abs(c - col)) <= REACH}
    assert seen(blind(network(detail=8)), row, col) == around


def test_of_the_usual_one_nothing_is_left_then() -> None:
    """The same question put to a network without the connection: the test above does not answer itself."""
    assert seen(blind(network()), 16, 16) == set()


def test_the_option_makes_it_and_errors_name_it() -> None:
    assert type(network(detail=8)) is DetailUnet
    assert type(network()) is not DetailUnet
    for options, said in (({"detail": 0}, "detail 0 is no number of channels"), ({"details": 8}, "knows .*detail")):
        with pytest.raises(ConfigError, match=said):
            network(**options)


def test_blocks_are_as_many_as_halvings() -> None:
    with pytest.raises(ConfigError, match="depth is 3"):
        network(detail=8, decoder_channels=[16, 8])
