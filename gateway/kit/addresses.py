"""Addresses that nothing here is ever sent to."""

import ipaddress
import socket

METADATA_ADDRESSES = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "169.254.170.2", "fd00:ec2::254")))
METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog"})
"""Where clouds hand out the credentials of a machine."""


def is_metadata(host: str) -> bool:
    """However the address is written: in hexadecimal, as one number, or inside an IPv6 address."""
    host = host.rstrip(".")
    if host in METADATA_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except (OSError, ValueError):  # a name
            return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address) in METADATA_ADDRESSES
