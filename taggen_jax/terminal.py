"""Progress for the person watching: a bar on a terminal, nothing elsewhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def counted(items: Iterable[T], total: int | None, verb: str, noun: str) -> Iterator[T]:
    """Passes items on while showing how many went by; `total` None where nobody knows it beforehand."""
    console = Console(stderr=True)
    columns = (
        TextColumn(f"{verb}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(noun),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total)
