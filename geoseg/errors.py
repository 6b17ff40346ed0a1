"""Everything that can go wrong for a user, named after what is wrong.

One root, one screen. Each error is one line (what, the value received, what to do)
and carries the exit code that a scheduler sees: BSD's sysexits where one fits.
"""

import re
from typing import ClassVar

# User name and password before the host; what follows ? or # (signatures, tokens), but not the sentence's own signs.
_SECRETS = re.compile(r"""(https?://)(?:[^\s/@'"]*@)?([^\s?#'"]*)(?:[?#][^\s'"]*?)?(?=[.,:;)…]*(?:[\s'"]|$))""")


def without_secrets(text: str) -> str:
    """A text whose web addresses have lost user names, passwords and signed queries."""
    return _SECRETS.sub(r"\1\2", text)


class GeosegError(Exception):
    """Root of all errors that a user can mend; the message is the one line they see, without secrets."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class UsageError(GeosegError, ValueError):
    """The call contradicts itself or misses something."""

    exit_code = 2


class InputError(GeosegError, ValueError):
    """The input is there but cannot be used as it is."""

    exit_code = 65


class InputMissingError(GeosegError, FileNotFoundError):
    """An input file does not exist or may not be read."""

    exit_code = 66


class DeviceError(GeosegError, RuntimeError):
    """The asked device, worker or cluster is not available."""

    exit_code = 69


class MemoryLimitError(GeosegError, RuntimeError):
    """What must be held at once is more than the memory allowed."""

    exit_code = 69


class ModelOutputError(GeosegError, RuntimeError):
    """The network answered NaN, or a self-check failed."""

    exit_code = 70


class OutputExistsError(GeosegError, FileExistsError):
    """The output exists, is locked, or cannot be created."""

    exit_code = 73


class OutputLockedError(OutputExistsError):
    """Another run is at work on the output."""


class OutputError(GeosegError, OSError):
    """Writing failed: disk full, or what was written does not read back."""

    exit_code = 74


class TemporaryError(GeosegError, RuntimeError):
    """Nothing is wrong with the job; running it again goes on."""

    exit_code = 75


class PolicyError(GeosegError, PermissionError):
    """Refused on purpose (an executable model file, a forbidden source)."""

    exit_code = 77


class ConfigError(GeosegError, ValueError):
    """A settings file or a model file is invalid, or does not fit the input."""

    exit_code = 78


class GeosegWarning(UserWarning):
    """Something a user should read before trusting the result."""
