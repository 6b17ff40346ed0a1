"""One root, one exit code each, and what a caller would catch besides."""

import pickle

import pytest

from geoseg import errors
from geoseg.errors import GeosegError, GeosegWarning

CODES = {
    "UsageError": (2, ValueError),
    "InputError": (65, ValueError),
    "InputMissingError": (66, FileNotFoundError),
    "DeviceError": (69, RuntimeError),
    "MemoryLimitError": (69, RuntimeError),
    "ModelOutputError": (70, RuntimeError),
    "OutputExistsError": (73, FileExistsError),
    "OutputLockedError": (73, FileExistsError),
    "OutputError": (74, OSError),
    "TemporaryError": (75, RuntimeError),
    "PolicyError": (77, PermissionError),
    "ConfigError": (78, ValueError),
}


def test_the_table_is_whole():
    classes = {name: c for name, c in vars(errors).items() if isinstance(c, type) and issubclass(c, GeosegError)}
    assert classes.keys() == {"GeosegError", *CODES}
    assert GeosegError.exit_code == 1
    assert not issubclass(GeosegWarning, GeosegError)


@pytest.mark.parametrize("name", CODES)
def test_exit_code_and_builtin(name):
    code, builtin = CODES[name]
    error = getattr(errors, name)("scene.tif: what is wrong; what to do.")
    assert isinstance(error, GeosegError)
    assert isinstance(error, builtin)
    assert error.exit_code == code
    assert str(error) == "scene.tif: what is wrong; what to do."


@pytest.mark.parametrize("name", CODES)
def test_errors_travel_between_processes(name):
    error = getattr(errors, name)("one line")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert type(again) is type(error)
    assert (str(again), again.exit_code) == (str(error), error.exit_code)
