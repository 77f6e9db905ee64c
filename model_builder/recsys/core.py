"""Leaves out who and what has too few others: the k-core of the graph of users and items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.integer]


def k_core(
    users: Numbers, items: Numbers, min_user_items: int, min_item_users: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which users ``(U,)`` and items ``(V,)`` stay, both bool.

    Every user who stays has at least ``min_user_items`` different items that stay, and every
    such item at least ``min_item_users`` users that stay: leaving one out may leave others with
    too few, so it is repeated until nobody is. Repeats count once.

    Args:
        users: ``(n,)``, from 0, of each interaction.
        items: ``(n,)``, from 0, of each interaction.
        min_user_items: 1 leaves everybody.
        min_item_users: 1 leaves everything.
    """
    user_count, item_count = int(users.max()) + 1, int(items.max()) + 1
    kept_users = np.bincount(users, minlength=user_count) >= min(min_user_items, 1)
    kept_items = np.bincount(items, minlength=item_count) >= min(min_item_users, 1)
    if max(min_user_items, min_item_users) <= 1:
        return kept_users, kept_items
    pairs = users.astype(np.int64) * item_count + items
    pairs.sort()
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])]
    who, what = (side.astype(np.int32) for side in np.divmod(pairs, item_count))
    del pairs
    while len(who):
        few_users = np.bincount(who, minlength=user_count) < min_user_items
        few_items = np.bincount(what, minlength=item_count) < min_item_users
        stay = ~(few_users[who] | few_items[what])
        kept_users &= ~few_users
        kept_items &= ~few_items
        if stay.all():
            break
        who, what = who[stay], what[stay]
    else:
        kept_users[:] = kept_items[:] = False
    return kept_users, kept_items
