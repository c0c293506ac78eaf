"""Tables of searches, as scikit-learn's searches have them."""

from numbers import Real

import numpy as np
from scipy.stats import rankdata

from skatom._warnings import warn


def results_of(candidates, scores, fit_times, score_times):
    """The dict ``cv_results_`` of scikit-learn's searches.

    Parameters
    ----------
    candidates : list of dict
        Parameters of each candidate.
    scores, fit_times, score_times : ndarray of float, shape (n_candidates, n_splits)
    """
    found = {}
    for name, times in (("fit", fit_times), ("score", score_times)):
        found[f"mean_{name}_time"] = times.mean(axis=1)
        found[f"std_{name}_time"] = times.std(axis=1)
    for name in sorted({name for candidate in candidates for name in candidate}):
        found[f"param_{name}"] = _masked([candidate.get(name, _ABSENT) for candidate in candidates])
    found["params"] = candidates
    for split, column in enumerate(scores.T):
        found[f"split{split}_test_score"] = column
    mean = scores.mean(axis=1)
    found["mean_test_score"] = mean
    found["std_test_score"] = scores.std(axis=1)
    # candidates that failed share the last place
    ranks = rankdata(-np.nan_to_num(mean, nan=-np.inf), method="min")
    found["rank_test_score"] = ranks.astype(np.int32)
    return found


_ABSENT = object()


def _masked(values):
    """An array of parameters, masked where a candidate does not have it."""
    mask = [value is _ABSENT for value in values]
    number = all(_is_number(value) for value in values if value is not _ABSENT)
    array = np.ma.MaskedArray(np.empty(len(values), float if number else object), mask)
    for place, value in enumerate(values):
        if value is not _ABSENT:
            array[place] = value
    return array


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def warn_of_edges(candidates, best):
    """Warn of numbers in the best candidate that are the first or last of those tried.

    Parameters
    ----------
    candidates : list of dict
    best : dict
    """
    found = []
    for name, value in best.items():
        tried = {one[name] for one in candidates if _is_number(one.get(name))}
        if not _is_number(value) or len(tried) < 2 or value == 0:
            continue
        for edge, side in ((min(tried), "smaller"), (max(tried), "larger")):
            if value == edge:
                found.append(f"{name}={value:g} is at the edge of those tried: try {side} ones too")
    if found:
        warn("; ".join(found))
