"""Signed addresses: `https://host/x.tif#sign=HOOK` stands for what HOOK makes of `https://host/x.tif` when it is read.

A signature is a secret, and it expires within the hour. So scenes, keys, records and workers carry the plain address
with the name of the hook, and whoever asks the server signs it then, once for many parts, and anew when the server
refuses. A hook is code of the user's choice: only `--sign` and addresses that the user writes name one; what follows
`#` in the assets of a STAC item never gets here (`geoseg.products.stac_assets`).
"""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache

from geoseg.errors import DeviceError, GeosegError, TemporaryError, UsageError
from geoseg.io.fetch import check_url

KNOWN = {"planetary-computer": "planetary_computer:sign_url"}
"""Name → function of a library of that catalog's own; it gets and gives an address."""
KEPT_S = 600.0
"""How long a signature is used at most before the hook is asked again."""
_MARK = "#sign="
_HOOK = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def hooked(url: str, hook: str | None) -> str:
    """The address that is to be signed by a hook (None: by none) whenever it is read.

    Raises:
        UsageError: no name of a hook.
    """
    if hook is None:
        return url
    if hook not in KNOWN and not _HOOK.fullmatch(hook):
        raise UsageError(f"--sign {hook!r} is neither {', '.join(KNOWN)} nor module:function.")
    return f"{url.partition('#')[0]}{_MARK}{hook}"


def signed(url: str) -> str:
    """What to ask the server for; a plain address stays.

    Raises:
        UsageError: there is no such hook, or it gives no address.
        DeviceError: its library is not installed.
        TemporaryError: the hook met a network error.
    """
    plain, mark, hook = url.partition(_MARK)
    if not mark:
        return url
    with _lock:
        known = _signatures.get(url)
        if known is None or time.monotonic() - known[1] > KEPT_S:
            known = _signatures[url] = (_called(hook, plain), time.monotonic())
    return known[0]


def renewable(url: str) -> bool:
    """Drop the signature of an address that a server refused; False: it has none."""
    with _lock:
        return _signatures.pop(url, None) is not None


_signatures: dict[str, tuple[str, float]] = {}
_lock = threading.Lock()


def _called(hook: str, url: str) -> str:
    try:
        found = _function(hook)(url)
    except GeosegError:
        raise
    except OSError as error:  # what requests and urllib raise, too
        raise TemporaryError(f"--sign {hook} did not sign {url} ({type(error).__name__}).") from error
    except Exception as error:
        raise UsageError(f"--sign {hook} failed for {url} ({type(error).__name__}: {error}); mend the hook.") from error
    if not isinstance(found, str):
        raise UsageError(f"--sign {hook} gives {type(found).__name__}; it must take and give an address as text.")
    check_url(found)
    return found


@lru_cache(maxsize=8)
def _function(hook: str) -> Callable[[str], object]:
    module, _, name = KNOWN.get(hook, hook).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if hook in KNOWN:
            raise DeviceError(f"--sign {hook} needs {error.name}: pip install 'geoseg[stac]'.") from error
        raise UsageError(f"--sign {hook}: there is no module {error.name!r}; is it on PYTHONPATH?") from error
    except AttributeError as error:
        raise UsageError(f"--sign {hook}: module {module} has no {name!r}.") from error
    if not callable(found):
        raise UsageError(f"--sign {hook}: {name} is {type(found).__name__}, no function.")
    return found  # type: ignore[no-any-return]
