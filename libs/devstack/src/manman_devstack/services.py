"""Our own services as processes on this machine: start, ask whether they are ready, end."""

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from manman_devstack import images
from manman_devstack.daemons import Daemon
from manman_devstack.home import REPOSITORY, Home

READY_WITHIN_S = 60.0
# A host lets its runners finish what they are doing; more than this is a hang.
_STOP_WITHIN_S = 30.0

# What a process needs of the caller's environment to run at all; everything else it is told in so many words.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "LOG_LEVEL")


def daemon(home: Home, service: str, environment: Mapping[str, str], *, name: str | None = None) -> Daemon:
    """Return how to run a service (`api`, `host`, ...) under that name in that home."""
    passed_on = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    return Daemon(
        name=name or service,
        home=home,
        command=[sys.executable, "-m", f"manman_{service}"],
        environment={**passed_on, **environment},
        inherits_environment=False,
    )


def is_ready(environment: Mapping[str, str]) -> bool:
    """Return whether the service with that environment answers 200 on /readyz."""
    return not why_not_ready(environment)


def why_not_ready(environment: Mapping[str, str]) -> str:
    """Return what the service says is missing; empty when it is ready."""
    address = f"http://127.0.0.1:{environment['HEALTH_CHECK_PORT']}/readyz"
    try:
        with urllib.request.urlopen(address, timeout=3):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace") or str(error)
    except OSError as error:
        return str(error)


def start_all(daemons: Mapping[str, Daemon], environments: Mapping[str, Mapping[str, str]]) -> None:
    """Start the services and return when every one of them is ready."""
    for service in daemons.values():
        service.start()
    deadline = time.monotonic() + READY_WITHIN_S
    for name, service in daemons.items():
        environment = environments[name]
        try:
            service.wait_ready(partial(is_ready, environment), max(1.0, deadline - time.monotonic()))
        except RuntimeError as error:
            error.add_note(f"readiness of {name}: {why_not_ready(environment)}")
            raise


def stop_all(daemons: Mapping[str, Daemon]) -> None:
    """Ask all services to end at once, and return when they have."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda service: service.stop(signal.SIGTERM, _STOP_WITHIN_S), daemons.values()))


def code_hash(service: str) -> str:
    """Return a hash of the code that this service consists of: `make up` restarts one whose code changed."""
    return images.content_hash(REPOSITORY, ["libs/common/src", f"services/{service}/src"])
