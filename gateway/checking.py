"""Whether a gateway could start with its settings: all that can be told without starting one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.connecting import server_tls, triton_tls
from gateway.protecting import key_source
from gateway.security.errors import UnusableFile
from gateway.security.keys import read_keys
from gateway.security.permissions import read_grants
from gateway.settings import InvalidSettings, Settings, load_settings
from gateway.transport.api import api_methods


def check_config(config: Path, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return everything that is wrong with a file of settings and the files that it names.

    Nothing is connected to: keys of tokens at a URL are not fetched.

    Args:
        config: The YAML file.
        options: What the command line would say.

    Returns:
        The violations, by the setting's name; ``{}`` if there are none.
    """
    try:
        settings = load_settings(config, options or {})
    except InvalidSettings as error:
        return error.violations
    return dict(violations_in_files(settings))


def violations_in_files(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with each file that settings name, with the setting's name."""
    methods = api_methods()
    tls, to_triton = server_tls(settings), triton_tls(settings)
    checks = {
        "tls_certificate": tls.check if tls else None,
        "triton_tls_ca": to_triton.context if to_triton else None,
        "keys_file": _check(settings.keys_file, lambda path: read_keys(path, methods)),
        "permissions_file": _check(
            settings.permissions_file, lambda path: read_grants(path, methods)
        ),
        "jwt_keys": _token_keys(settings),
    }
    for name, check in checks.items():
        if check is not None:
            try:
                check()
            except UnusableFile as error:
                yield name, str(error)
    if settings.public_key is not None and not settings.public_key.is_file():
        yield "public_key", f"{settings.public_key}: is no file"
    if settings.payload_log is not None and importlib.util.find_spec("pyarrow") is None:
        yield "payload_log", "needs pyarrow: pip install 'trident[payloads]'"


def _check(path: Path | None, read: Any) -> Any:
    return (lambda: read(path)) if path is not None else None


def _token_keys(settings: Settings) -> Any:
    if settings.jwt_keys is None or "://" in settings.jwt_keys:
        return None
    return key_source(settings.jwt_keys, settings.jwt_algorithms).read
