"""Who to be at a registry: a file such as `docker login` writes, read anew for each pull so that it can change.

What it holds goes to the engine with the pull and nowhere else; no message or log line says any of it.
"""

from __future__ import annotations

import json
from pathlib import Path

from docker.auth import AuthConfig, resolve_repository_name
from docker.errors import DockerException, InvalidConfigFile

from manman.errors import Conflict

MAX_FILE_BYTES = 1024 * 1024


def credentials_for(repository: str, file: str) -> dict[str, str] | None:
    """Return what to send to the engine for a pull of `repository`; empty when the file knows nothing of its registry.

    None without a file: then the SDK looks into the home folder, as the docker command does. Entries may be in `auths`
    or come from the programs that `credHelpers` and `credsStore` name. Raises `Conflict` for a file that is no good.
    """
    if not file:
        return None
    try:
        content = json.loads(_read(Path(file)))
        registry, _ = resolve_repository_name(repository)
        found = AuthConfig.load_config(None, content).resolve_authconfig(registry) if content else None
    except OSError as error:
        raise Conflict(f"REGISTRY_AUTH_FILE {file} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, TypeError, InvalidConfigFile):  # the SDK trusts the file's shape
        # `from None`: what could not be parsed is a secret
        raise Conflict(f"REGISTRY_AUTH_FILE {file} is not a file such as docker login writes") from None
    except DockerException as error:
        raise Conflict(f"the credential helper that REGISTRY_AUTH_FILE {file} names failed: {error}") from error
    return dict(found or {})


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES)
