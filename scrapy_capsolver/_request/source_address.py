"""The address that requests without a proxy leave from, as far as it can be told from here."""

from __future__ import annotations

import socket
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.settings import BaseSettings

_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")  # freedesktop.org/software/systemd/man/machine-id.html


@cache
def machine() -> str:
    """Tells this machine, or container, from others, and is the same for all of its processes.

    None of the three is enough: clones of an image may have one machine-id, containers one hardware address, hosts one name.
    """
    parts = [socket.gethostname()]
    hardware = uuid.getnode()
    if not hardware >> 40 & 1:  # else Python found none, and made a number up for this process
        parts.append(f"{hardware:012x}")
    for path in _MACHINE_IDS:
        try:
            parts.append(Path(path).read_text(encoding="ascii").strip())
            break
        except (OSError, UnicodeDecodeError):
            continue
    return " ".join(parts)


def bind_address(settings: BaseSettings, request: Request) -> str:
    """The local address that the request is bound to; empty where the system chooses. A port plays no part."""
    bound = request.meta.get("bindaddress") or settings.get("DOWNLOAD_BIND_ADDRESS")
    if isinstance(bound, (tuple, list)) and bound:
        bound = bound[0]
    return str(bound or "")
