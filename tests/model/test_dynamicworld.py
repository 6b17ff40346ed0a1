"""Dynamic World: the same answers as TensorFlow's, from arrays and from a SavedModel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from hypothesis import given
from hypothesis import strategies as st
from saved_model import bundle, random_arrays

from geoseg.errors import ConfigError, InputMissingError
from geoseg.model.crc32c import crc32c, masked_crc32c
from geoseg.model.dynamicworld import DynamicWorld, _halved
from geoseg.model.import_dynamicworld import BANDS, RADIUS, read_arrays, spec, tensors_from
from geoseg.model.normalize import normalize, reflectance
from geoseg.model.published import PUBLISHED, weights_sha256
from geoseg.model.tensor_bundle import read_variables

WEIGHTS = "dynamic_world_weights"


@pytest.fixture(scope="module")
def arrays():
    return random_arrays()


def test_logits_equal_tensorflows(shared):
    """The published weights on real pixels; the goal is 1e-4."""
    parity = np.load(shared / WEIGHTS / "parity_sample.npz")
    network = DynamicWorld().eval()
    network.load_state_dict(tensors_from(read_arrays(shared / WEIGHTS / "forward_weights.npz")))
    values = reflectance(parity["s2_dn"].transpose(2, 0, 1), [1e-4] * 9, [0.0] * 9)
    inputs = normalize(values, spec().bands)
    np.testing.assert_allclose(inputs.transpose(1, 2, 0), parity["normalised"], atol=1e-6)
    with torch.inference_mode():
        logits = network(torch.from_numpy(inputs)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(logits, parity["logits"], atol=1e-4)
    np.testing.assert_array_equal([band[1:] for band in BANDS], parity["norm_low_high"])


def test_the_margin_is_the_receptive_radius():
    """No pixel further away than the margin has any influence; some at that distance do."""
    network = DynamicWorld().double().eval()
    image = torch.randn(1, 9, 96, 96, dtype=torch.double, requires_grad=True)
    reach = 0
    for row, col in ((48, 48), (49, 49)):
        (gradient,) = torch.autograd.grad(network(image)[0, 0, row, col], image)
        touched = gradient.abs().sum((0, 1)).nonzero() - torch.tensor([row, col])
        reach = max(reach, int(touched.abs().max()))
    assert reach == RADIUS == spec().margin


@given(st.integers(2, 9), st.integers(2, 9), st.booleans())
def test_halving_is_torchs_antialiased_resize(rows, cols, odd):
    """Odd sides take torch's own. Not to one column: there torch repeats the first row."""
    x = torch.arange(3 * (2 * rows + odd) * 2 * cols).reshape(1, 3, 2 * rows + odd, 2 * cols).remainder(17) / 2
    expected = F.interpolate(x, size=[rows, cols], mode="bilinear", antialias=True)
    torch.testing.assert_close(_halved(x), expected, atol=1e-5, rtol=0)


def test_the_lean_form_has_the_same_tensors_and_reach():
    """And nearly the same answer where features are smooth: there, enlarging classes is enlarging channels."""
    full, lean = DynamicWorld().double().eval(), DynamicWorld(lean=True).double().eval()
    lean.load_state_dict(full.state_dict())
    for module in lean.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.Hardswish):
                setattr(module, name, torch.nn.Mish())
    ramp = torch.linspace(0, 1, 64, dtype=torch.double).expand(1, 9, 64, 64)
    with torch.inference_mode():
        difference = (full(ramp) - lean(ramp))[..., 4:-4, 4:-4].abs().max()
        assert 0 < difference < 0.01 * full(ramp).std()


def test_foreign_arrays_are_refused(arrays, tmp_path):
    with pytest.raises(ConfigError, match="conv2d/kernel is missing"):
        tensors_from({})
    with pytest.raises(ConfigError, match="not Dynamic World's variables"):
        tensors_from(arrays | {"conv2d/kernel": np.zeros((3, 3, 4, 64), "float32")})
    (tmp_path / "w.npz").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"no \.npz"):
        read_arrays(tmp_path / "w.npz")


# ── a SavedModel, written as TensorFlow writes it ────────────────────────────────────────────────────────────────────


def test_a_saved_model_gives_the_same_tensors(arrays, tmp_path):
    found = read_variables(bundle(tmp_path / "forward", arrays))
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
    assert tensors_from(found).keys() == DynamicWorld().state_dict().keys()


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
def test_a_flipped_bit_is_found(arrays, tmp_path, name, place):
    """In an array, in the names of the variables, in the index: nothing is read as something else."""
    folder = bundle(tmp_path / "forward", arrays)
    path = folder / "variables" / name
    raw = bytearray(path.read_bytes())
    raw[int(place * len(raw))] ^= 4
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="damaged"):
        read_variables(folder)


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)
def test_crc32c_of_the_rfc(data, crc):
    """RFC 3720, appendix B.4; the mask is undone as TensorFlow undoes it."""
    assert crc32c(data) == crc
    rotated = masked_crc32c(data) - 0xA282EAD8 & 0xFFFFFFFF
    assert (rotated >> 17 | rotated << 15) & 0xFFFFFFFF == crc


def test_the_published_digest(shared):
    """It says whether arrays are the published ones, and any change of one bit, name or shape shows."""
    tensors = tensors_from(read_arrays(shared / WEIGHTS / "forward_weights.npz"))
    right = PUBLISHED["dynamicworld"].weights_sha256
    assert weights_sha256(dict(reversed(tensors.items()))) == right
    head = tensors["head.weight"]
    changed = head.clone()
    changed[0, 0, 0, 0] = torch.nextafter(changed[0, 0, 0, 0], torch.tensor(9.0))
    for other in (
        tensors | {"head.weight": changed},
        tensors | {"head.weight": head.flatten()},
        {name.replace("stem", "root"): tensor for name, tensor in tensors.items()},
    ):
        assert weights_sha256(other) != right


@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
def test_a_saved_model_cut_short_is_one_line(arrays, tmp_path, name):
    folder = bundle(tmp_path / "forward", arrays)
    path = folder / "variables" / name
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ConfigError, match="damaged"):
        read_variables(folder)
    path.unlink()
    with pytest.raises(InputMissingError, match="variables"):
        read_variables(folder)


def test_a_compressed_table_is_refused_and_not_misread(arrays, tmp_path):
    folder = bundle(tmp_path / "forward", arrays)
    path = folder / "variables" / "variables.index"
    raw = bytearray(path.read_bytes())
    raw[-48 - 5] = 1  # the index block's compression byte
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="compressed"):
        read_variables(folder)
