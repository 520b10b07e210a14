"""How probable it is that a variant has the best mean, given its runs.

Under a flat prior and normal values the means of all variants are, given the runs, multivariate t: the means that were
seen, plus the seeds' deviations from them with random weights. Drawn often enough, each variant is the best in its
share of draws. The weights are common to all variants, so what seeds do to all of them alike does not count.
"""

import hashlib

import numpy as np

from session_api.domain.study.runs import Floats

_DRAWS = 4000
# So many draws at once: a matrix of draws by variants stays small.
_AT_ONCE = 500


def probabilities(values: Floats, *, less_is_better: bool) -> Floats:
    """For each row of a complete matrix (variants by seeds), adding up to 1; NaN below two seeds.

    The same runs give the same probabilities: the draws are made from a digest of them. Equal rows share equally.
    """
    variants, seeds = values.shape
    if seeds < 2 or variants < 2:
        return np.full(variants, 1.0 if variants == 1 else np.nan)
    rows, of_row, shared_by = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    means = rows.mean(axis=1)
    deviations = (rows - means[:, None]).T
    digest = hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=16).digest()
    draw = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    wins = np.zeros(len(rows))
    for _ in range(_DRAWS // _AT_ONCE):
        weights = draw.standard_normal((_AT_ONCE, seeds)) / np.sqrt(seeds * (seeds - 1))
        weights *= np.sqrt((seeds - 1) / draw.chisquare(seeds - 1, (_AT_ONCE, 1)))
        drawn = means + weights @ deviations
        wins += np.bincount(drawn.argmin(axis=1) if less_is_better else drawn.argmax(axis=1), minlength=len(rows))
    return (wins / _DRAWS / shared_by)[of_row.reshape(-1)]
