"""The browser that the page tests look through: a Chromium that is there, else Debian's.

Not its business: driving it. Tests do that with Playwright, whose own browser download is not needed.
"""

import os
import shutil

from manman_devstack import apt

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Return the path of a Chromium: the one that `CHROMIUM` names, else the first one on the path."""
    given = os.environ.get("CHROMIUM")
    return given or next((path for name in _NAMES if (path := shutil.which(name))), None)


def ensure() -> str:
    """Return the path of a Chromium, installing Debian's (and a font to read by) when there is none.

    Raises `apt.CannotInstallError`, whose text says what to install, where that is not possible.
    """
    found = find()
    if found is None:
        apt.install_missing({"chromium": False, "fonts-dejavu-core": False})
        found = find()
    if found is None:
        raise apt.CannotInstallError("please install Chromium, or name one in CHROMIUM")
    return found
