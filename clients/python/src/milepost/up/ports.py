"""Ports for the children, chosen before any of them starts, so that all can start at once and come back to them.

Ports the system hands out by itself are avoided: while a child is down, an outgoing connection of anybody could
be given its port (even that of a client knocking on it, which then talks to itself), and the child could not
come back.
"""

import random
import socket

HOST = "127.0.0.1"
# Below the range Linux takes ports of outgoing connections from (32768 and up), above the well-known ones.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 200


class NoFreePort(RuntimeError):
    """No port was free; something is very wrong with this machine."""


def is_free(port: int) -> bool:
    """Whether a server could listen on a loopback port now."""
    with socket.socket() as probe:
        # As servers do it: a port whose last connections are only fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """That many adjacent free ports. Raises NoFreePort."""
    for _ in range(_TRIES):
        first = random.randrange(_LOWEST, _HIGHEST - count)  # noqa: S311 - no secret
        ports = list(range(first, first + count))
        if all(is_free(port) for port in ports):
            return ports
    raise NoFreePort(f"no {count} adjacent ports between {_LOWEST} and {_HIGHEST} are free")
