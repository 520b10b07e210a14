"""A fingerprint of the C mathematics library: glibc picks other code paths on other processors (sumo.md, "libm")."""

import hashlib
import math
import struct
from typing import Final

_POINTS: Final = 512
# Spreads the points over many binary exponents without repeating a fraction.
_STRIDE: Final = 0.6180339887498949


def libm_fingerprint() -> str:
    """16 hexadecimal digits: a hash over fixed values of the functions SUMO uses."""
    digest = hashlib.blake2b(digest_size=8)
    for index in range(1, _POINTS):
        x = index * _STRIDE
        values = (math.sin(x), math.cos(x), math.exp(-x / 8), math.log(x), x ** (1 / 3), math.atan2(x, 7.0 - x))
        digest.update(struct.pack("<6d", *values))
    return digest.hexdigest()
