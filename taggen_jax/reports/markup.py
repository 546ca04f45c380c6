"""HTML as values: whatever is not `Html` already is escaped, so that no text of a catalog becomes markup."""

import html
from collections.abc import Iterable


class Html(str):
    """A piece of finished markup."""


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """<name attributes>children</name>; `class_` is written "class", iterables of children are joined."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
    )
    if name in ("img", "meta"):  # void elements have no end
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Html:
    """Pieces one after the other, texts escaped."""
    return Html("".join(_piece(child) for child in children))


def table(heading: Iterable[object], rows: Iterable[Iterable[object]], class_: str = "") -> Html:
    """A table; the first column is text, the others are numbers and stand to the right."""
    head = element("thead", element("tr", *(element("th", cell) for cell in heading)))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    return element("div", element("table", head, body, class_=class_), class_="scroll")


def _piece(child: object) -> str:
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(child)
    return join(child) if isinstance(child, Iterable) else html.escape(str(child))
