"""Products of like length together, for generation: few shapes, little padding, answers in input order.

products  7 3 9 2 8 ..      each is padded to the next multiple of a step: 8 4 12 4 8 ..
batches   3 2 | 7 8 | 9     and waits for others of its bucket, until a batch is full or the input ends
answers   7 3 9 2 8 ..      those that come early wait for the ones before them
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def padded(length: int, step: int, longest: int) -> int:
    """The bucket of a source of `length` tokens, at most `longest`: that many are its row's.

    It depends on the source alone, so a product's answer does not depend on the company it comes in.
    """
    return min(longest, -(-max(length, 1) // step) * step) if step else longest


def grouped(
    items: Iterable[Item], bucket: Callable[[Item], int], size: int
) -> Iterator[tuple[int, list[Item]]]:
    """(bucket, `size` items of it) as they fill up; at the end what is left, the smallest bucket first."""
    waiting: dict[int, list[Item]] = {}
    for item in items:
        name = bucket(item)
        waiting.setdefault(name, []).append(item)
        if len(waiting[name]) == size:
            yield name, waiting.pop(name)
    yield from sorted(waiting.items(), key=lambda pair: pair[0])


def in_order(answers: Iterable[tuple[int, Answer]]) -> Iterator[tuple[int, Answer]]:
    """(row, answer) of rows 0, 1, 2, .., whatever order they come in; each row must come once."""
    early: dict[int, Answer] = {}
    due = 0
    for row, answer in answers:
        early[row] = answer
        while due in early:
            yield due, early.pop(due)
            due += 1
    if early:
        raise ValueError(f"no answer for row {due}, though {len(early)} later ones have come")
