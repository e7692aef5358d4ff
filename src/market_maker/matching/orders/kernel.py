"""Where orders are kept: slots, the table of ids, queues of levels, chains of owners, the heap of ends.

Owns the links between orders and their quantities in a level. Decides nothing: who trades, and who may, is asked elsewhere.
Interpreted and compiled form are the same code.
"""

import numpy as np

from market_maker.matching.levels.kernel import inlined, inner, nth, occupy, vacate
from market_maker.matching.state import ID_PAGE, ID_SHIFT

ID_MASK = ID_PAGE - 1


@inlined
def find_id_page(state, key):
    """Return the place of a page of ids, -1 if none of its ids is open."""
    directory = state.id_directory
    place = np.int64(directory[nth(key & (len(directory) - 1))])
    while place >= 0 and state.id_keys[nth(place)] != key:
        place = np.int64(state.id_next[nth(place)])
    return place


@inlined
def slot_in(state, place, order_id):
    """Return the slot that a page of ids gives for an id, -1 if it is not open."""
    return np.int64(state.id_pages[nth((place << ID_SHIFT) | (order_id & ID_MASK))])


@inlined
def find_order(state, order_id):
    """Return the slot of an open order, -1 if there is none."""
    place = find_id_page(state, order_id >> ID_SHIFT)
    if place < 0:
        return np.int64(-1)
    return slot_in(state, place, order_id)


@inner
def open_id_page(state, key):
    """Give a page of ids a place and return it; there are as many places as orders."""
    head = state.head[0]
    head["free_id_pages"] -= 1
    place = np.int64(state.free_ids[head["free_id_pages"]])
    state.id_keys[place] = key
    bucket = key & (len(state.id_directory) - 1)
    state.id_next[place] = state.id_directory[bucket]
    state.id_directory[bucket] = place
    return place


@inner
def close_id_page(state, place):
    """Give the place of a page without open ids back."""
    head = state.head[0]
    bucket = state.id_keys[place] & (len(state.id_directory) - 1)
    found = np.int64(state.id_directory[bucket])
    if found == place:
        state.id_directory[bucket] = state.id_next[place]
    else:
        while state.id_next[found] != place:
            found = np.int64(state.id_next[found])
        state.id_next[found] = state.id_next[place]
    state.free_ids[head["free_id_pages"]] = place
    head["free_id_pages"] += 1


@inlined
def enter(state, order_id, slot):
    """Enter an id; return False if it is there already."""
    place = find_id_page(state, order_id >> ID_SHIFT)
    if place < 0:
        place = open_id_page(state, order_id >> ID_SHIFT)
    elif state.id_pages[nth((place << ID_SHIFT) | (order_id & ID_MASK))] >= 0:
        return False
    state.id_pages[nth((place << ID_SHIFT) | (order_id & ID_MASK))] = slot
    state.id_counts[nth(place)] += 1
    return True


@inlined
def strike_out(state, place, order_id):
    """Remove the id of an open order from its page."""
    state.id_pages[nth((place << ID_SHIFT) | (order_id & ID_MASK))] = -1
    left = state.id_counts[nth(place)] - 1
    state.id_counts[nth(place)] = left
    if left == 0:
        close_id_page(state, place)


@inlined
def price_of(order):
    """Return the price at which an order stands: of a waiting stop its trigger."""
    book = order["book"]
    return order["rank"] if book == 1 or book == 2 else -order["rank"]


@inlined
def side_of(order):
    """Return +1 for a buy, -1 for a sell; books 0 and 2 are those of buys."""
    return np.int64(1) - 2 * (np.int64(order["book"]) & 1)


@inlined
def append(state, slot, level, shown_lots, hidden_lots):
    """Put an order last in the queue of an occupied level, with what it displays and what it hides."""
    order, at = state.orders[nth(slot)], state.levels[nth(level)]
    last = at["last"]
    order["level"] = level
    order["next"] = -1
    order["before"] = last
    # Without branches, which nobody could predict: a link that has no place is written into the sink, the last record.
    sink = len(state.orders) - 1
    state.orders[nth(last if last >= 0 else sink)]["next"] = slot
    state.levels[nth(level if last < 0 else len(state.levels) - 1)]["first"] = slot
    at["last"] = slot
    at["shown_lots"] += shown_lots
    at["hidden_lots"] += hidden_lots
    at["orders"] += 1


@inlined
def rest(state, slot):
    """Put an order last in the queue at its rank."""
    order = state.orders[nth(slot)]
    level = occupy(state, np.int64(order["book"]), order["rank"])
    append(state, slot, level, order["shown_lots"], order["leaves_lots"] - order["shown_lots"])


@inlined
def unlink(state, slot, shown_lots, hidden_lots):
    """Take an order out of its queue, with what it displays and what it hides; a level without orders is vacated."""
    order = state.orders[nth(slot)]
    level = np.int64(order["level"])
    at = state.levels[nth(level)]
    before, behind = order["before"], order["next"]
    sink = len(state.orders) - 1
    state.orders[nth(before if before >= 0 else sink)]["next"] = behind
    state.orders[nth(behind if behind >= 0 else sink)]["before"] = before
    nowhere = len(state.levels) - 1
    state.levels[nth(level if before < 0 else nowhere)]["first"] = behind
    state.levels[nth(level if behind < 0 else nowhere)]["last"] = before
    at["shown_lots"] -= shown_lots
    at["hidden_lots"] -= hidden_lots
    left = at["orders"] - 1
    at["orders"] = left
    if left == 0:
        vacate(state, np.int64(order["book"]), level)


@inner
def take_out(state, slot):
    """Do as `unlink`, for what is rare: its code is there once, not wherever it is called."""
    order = state.orders[nth(slot)]
    unlink(state, slot, order["shown_lots"], order["leaves_lots"] - order["shown_lots"])


@inner
def chain(state, slot, owner):
    """Put an order last in the chain of its owner's open orders."""
    detail = state.details[nth(slot)]
    last = state.owners[owner, 1]
    detail["owner_before"] = last
    detail["owner_next"] = -1
    if last >= 0:
        state.details[nth(last)]["owner_next"] = slot
    else:
        state.owners[owner, 0] = slot
    state.owners[owner, 1] = slot


@inner
def unchain(state, slot, owner):
    """Take an order out of its owner's chain."""
    detail = state.details[nth(slot)]
    before, behind = detail["owner_before"], detail["owner_next"]
    if before >= 0:
        state.details[nth(before)]["owner_next"] = behind
    else:
        state.owners[owner, 0] = behind
    if behind >= 0:
        state.details[nth(behind)]["owner_before"] = before
    else:
        state.owners[owner, 1] = before


@inlined
def _ends_before(state, one, other):
    """Tell whether an order ends before another; of one instant, the one that came first."""
    left, right = state.details[nth(one)], state.details[nth(other)]
    if left["expire_ts"] != right["expire_ts"]:
        return left["expire_ts"] < right["expire_ts"]
    return left["number"] < right["number"]


@inlined
def _put(state, place, slot):
    state.expiry[place] = slot
    state.details[nth(slot)]["heap_place"] = place


@inner
def _sift(state, place, slot):
    """Put `slot` where it belongs in the heap, given that `place` is free."""
    heap, count = state.expiry, state.head[0]["expiring"]
    while place > 0 and _ends_before(state, slot, np.int64(heap[(place - 1) >> 1])):
        _put(state, place, np.int64(heap[(place - 1) >> 1]))
        place = (place - 1) >> 1
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and _ends_before(state, np.int64(heap[child + 1]), np.int64(heap[child])):
            child += 1
        if not _ends_before(state, np.int64(heap[child]), slot):
            break
        _put(state, place, np.int64(heap[child]))
        place = child
    _put(state, place, slot)


@inner
def await_end(state, slot):
    """Enter an order into the heap of ends."""
    head = state.head[0]
    place = head["expiring"]
    head["expiring"] += 1
    _sift(state, place, slot)


@inner
def forget_end(state, slot):
    """Take an order out of the heap of ends."""
    head = state.head[0]
    place = np.int64(state.details[nth(slot)]["heap_place"])
    head["expiring"] -= 1
    last = np.int64(state.expiry[head["expiring"]])
    if last != slot:
        _sift(state, place, last)


@inlined
def give_back(state, slot):
    """Give the slot of an order that stands in no queue back; its id is struck out."""
    if state.orders[nth(slot)]["detailed"] != 0:
        forget_detail(state, slot)
    push_free(state, slot)


@inlined
def push_free(state, slot):
    """Put a slot on the stack of free ones; a slot without an id is free."""
    head = state.head[0]
    count = head["free_orders"]
    state.orders[nth(slot)]["order_id"] = 0
    state.free_orders[nth(count)] = slot
    head["free_orders"] = count + 1


@inner
def forget_detail(state, slot):
    """Take an order off its owner's chain and out of the heap of ends."""
    if state.orders[nth(slot)]["owner"] != 0:
        unchain(state, slot, np.int64(state.orders[nth(slot)]["owner"]))
    if state.details[nth(slot)]["expire_ts"] != 0:
        forget_end(state, slot)


@inlined
def release(state, slot):
    """Strike out the id of an order that stands in no queue and give its slot back."""
    order_id = state.orders[nth(slot)]["order_id"]
    strike_out(state, find_id_page(state, order_id >> ID_SHIFT), order_id)
    give_back(state, slot)


@inner
def discard(state, slot):
    """Do as `release`, for what is rare."""
    release(state, slot)


def rebuild(state):
    """Entry point: fill an empty directory of ids and an empty one of pages after the arrays have grown."""
    for slot in range(len(state.orders) - 1):
        if state.orders[nth(slot)]["order_id"] != 0:
            enter(state, state.orders[nth(slot)]["order_id"], slot)
    mask = len(state.directory) - 1
    for book in range(4):
        for i in range(state.page_counts[book]):
            place = state.pages[book, i]
            bucket = state.page_keys[nth(place)] & mask
            state.page_next[nth(place)] = state.directory[nth(bucket)]
            state.directory[nth(bucket)] = place
