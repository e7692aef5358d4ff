"""Price levels that are found by their tick: pages of levels, bitmaps over them, the best price of each side.

Owns which level a price has, which levels are occupied and which is the best. Knows nothing of what stands in a level's
queue, nor of owners or time. Interpreted and compiled form are the same code.

A level is addressed by its side and its *rank*: the price in ticks for asks and buy stops, minus the price for bids and
sell stops, so that on every side less is better and no line below asks which side it is. Prices are unbounded: ranks are
cut into pages of PAGE_TICKS levels, and a page has a place in the pool only while one of its levels is occupied. Finding
a page is one look into a directory by hash; the next best price is the lowest bit of two words.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from market_maker.matching.state import NO_RANK, PAGE_MASK, PAGE_SHIFT, WORD_SHIFT, WORDS

WORD_MASK = (1 << WORD_SHIFT) - 1

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls, with arrays that their caller holds: neither wrappers for Python nor
counted references."""
inlined = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False, forceinline=True)
"""For the few that are called for every command."""


@intrinsic
def _trailing_zeros(typing_context, word):
    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def lowest_bit(word):
    """Return the place of the lowest bit that is set; `word` is positive."""
    word = int(word)
    return (word & -word).bit_length() - 1


@overload(lowest_bit, jit_options={"_nrt": False, "forceinline": True})
def _lowest_bit(word):
    return lambda word: _trailing_zeros(np.int64(word))


@intrinsic
def _prefetch(typing_context, array, index):
    """Ask for a record's cache line, to be written; an index out of range does no harm."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        word = ir.IntType(64)
        offset = builder.mul(arguments[1], ir.Constant(word, size))
        address = builder.gep(builder.bitcast(view.data, ir.IntType(8).as_pointer()), [offset])
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        # Address, to be written (1), to stay in all caches (3), data and not code (1).
        builder.call(prefetch, [address, ir.Constant(flag, 1), ir.Constant(flag, 3), ir.Constant(flag, 1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def fetch(array, index):
    """Bring a record closer to the processor; changes nothing, and `index` may be out of range."""


@overload(fetch, jit_options={"_nrt": False, "forceinline": True})
def _fetch(array, index):
    return lambda array, index: _prefetch(array, np.int64(index))


@inlined
def nth(index):
    """Return an index that is not negative such that Numba need not look whether it is."""
    return np.uint64(index)


@inlined
def page_key(book, rank):
    """Return what identifies a page in the directory: its number and its side."""
    return ((rank >> PAGE_SHIFT) << 2) | book


@inlined
def find_page(state, key):
    """Return the place of a page in the pool, -1 if none of its levels is occupied."""
    directory = state.directory
    place = np.int64(directory[nth(key & (len(directory) - 1))])
    while place >= 0 and state.page_keys[nth(place)] != key:
        place = np.int64(state.page_next[nth(place)])
    return place


@inlined
def find_level(state, book, rank):
    """Return the index of a level in `levels`, -1 if its page is not in the pool."""
    place = find_page(state, page_key(book, rank))
    if place < 0:
        return np.int64(-1)
    return (place << PAGE_SHIFT) | (rank & PAGE_MASK)


@inlined
def rank_of_level(state, level):
    """Return the rank of a level of the pool."""
    return ((state.page_keys[nth(level >> PAGE_SHIFT)] >> 2) << PAGE_SHIFT) | (level & PAGE_MASK)


@inner
def list_place(state, book, number):
    """Return how many pages of a side come before page `number` in its list, which runs from worst to best."""
    low, high = np.int64(0), state.page_counts[book]
    while low < high:
        middle = (low + high) >> 1
        if state.page_keys[state.pages[book, middle]] >> 2 > number:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def open_page(state, key):
    """Give a page a place in the pool and return it; the caller has made sure that one is free."""
    head = state.head[0]
    book = key & 3
    head["free_pages"] -= 1
    place = np.int64(state.free_pages[head["free_pages"]])
    state.page_keys[nth(place)] = key
    bucket = key & (len(state.directory) - 1)
    state.page_next[nth(place)] = state.directory[nth(bucket)]
    state.directory[nth(bucket)] = place
    at = list_place(state, book, key >> 2)
    count = state.page_counts[book]
    for i in range(count, at, -1):
        state.pages[book, i] = state.pages[book, i - 1]
    state.pages[book, at] = place
    state.page_counts[book] = count + 1
    return place


@inner
def close_page(state, place):
    """Give the place of a page without occupied levels back to the pool."""
    head = state.head[0]
    key = state.page_keys[nth(place)]
    book = key & 3
    at = list_place(state, book, key >> 2)
    count = state.page_counts[book] - 1
    for i in range(at, count):
        state.pages[book, i] = state.pages[book, i + 1]
    state.page_counts[book] = count
    bucket = key & (len(state.directory) - 1)
    found = np.int64(state.directory[nth(bucket)])
    if found == place:
        state.directory[nth(bucket)] = state.page_next[nth(place)]
    else:
        while state.page_next[nth(found)] != place:
            found = np.int64(state.page_next[nth(found)])
        state.page_next[nth(found)] = state.page_next[nth(place)]
    state.free_pages[head["free_pages"]] = place
    head["free_pages"] += 1


@inlined
def first_in_page(state, place):
    """Return the index of the best occupied level of a page that has one."""
    word = lowest_bit(state.summaries[nth(place)])
    offset = (word << WORD_SHIFT) | lowest_bit(state.words[nth(place * WORDS + word)])
    return (place << PAGE_SHIFT) | offset


@inlined
def occupy(state, book, rank):
    """Return the index of a level, which is marked as occupied from now on; keeps the best rank."""
    key = page_key(book, rank)
    place = find_page(state, key)
    if place < 0:
        place = open_page(state, key)
    offset = rank & PAGE_MASK
    word = offset >> WORD_SHIFT
    state.words[nth(place * WORDS + word)] |= np.int64(1) << (offset & WORD_MASK)
    state.summaries[nth(place)] |= np.int64(1) << word
    state.best[nth(book)] = min(state.best[nth(book)], rank)
    return (place << PAGE_SHIFT) | offset


@inner
def vacate(state, book, level):
    """Mark a level as empty; keeps the best rank and gives an empty page back."""
    place, offset = level >> PAGE_SHIFT, level & PAGE_MASK
    word = offset >> WORD_SHIFT
    rank = rank_of_level(state, level)
    state.words[nth(place * WORDS + word)] &= ~(np.int64(1) << (offset & WORD_MASK))
    if state.words[nth(place * WORDS + word)] == 0:
        state.summaries[nth(place)] &= ~(np.int64(1) << word)
    if state.summaries[nth(place)] == 0:
        close_page(state, place)
        if rank == state.best[nth(book)]:
            count = state.page_counts[book]
            if count == 0:
                state.best[nth(book)] = NO_RANK
            else:
                state.best[nth(book)] = rank_of_level(
                    state, first_in_page(state, np.int64(state.pages[book, count - 1]))
                )
    elif rank == state.best[nth(book)]:
        state.best[nth(book)] = rank_of_level(state, first_in_page(state, place))


@inner
def next_rank(state, book, rank):
    """Return the best occupied rank of a side that is worse than `rank`; NO_RANK if there is none."""
    number = rank >> PAGE_SHIFT
    place = find_page(state, page_key(book, rank))
    if place >= 0:
        offset = (rank & PAGE_MASK) + 1
        word = offset >> WORD_SHIFT
        if word < WORDS:
            rest = state.words[nth(place * WORDS + word)] & -(np.int64(1) << (offset & WORD_MASK))
            if rest != 0:
                return (number << PAGE_SHIFT) | (word << WORD_SHIFT) | lowest_bit(rest)
            summary = state.summaries[nth(place)] & -(np.int64(1) << (word + 1))
            if summary != 0:
                word = lowest_bit(summary)
                return (
                    (number << PAGE_SHIFT) | (word << WORD_SHIFT) | lowest_bit(state.words[nth(place * WORDS + word)])
                )
    at = list_place(state, book, number) - 1
    if at < 0:
        return np.int64(NO_RANK)
    return rank_of_level(state, first_in_page(state, np.int64(state.pages[book, at])))
