"""HTML to text with a real parser, without losing text that only looks like HTML."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

# Elements whose content nobody reads; those before and after which a page shows white space; all others.
_HIDDEN = "iframe noscript script style svg template"
_BLOCK = """address article aside blockquote br button caption center dd details dialog dir div dl dt
fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr img legend li main menu nav ol optgroup
option p pre section select summary table tbody td textarea tfoot th thead title tr ul video"""
_INLINE = """a abbr acronym applet area audio b base basefont bdi bdo big body canvas cite code col colgroup
data datalist del dfn em embed font frame frameset head html i input ins kbd label link map mark marquee meta
meter nobr noframes object output param picture progress q rp rt ruby s samp small source span strike strong
sub sup time tt u var wbr"""
_HIDDEN_TAGS, _BLOCK_TAGS = frozenset(_HIDDEN.split()), frozenset(_BLOCK.split())

# A "<" that begins no tag, comment or declaration. The parser, as its standard asks, takes "<M" in "S<M<L"
# for a tag and drops all behind it. One letter needs more than a name to be a tag; Word's have a prefix.
_NAMES = f"{_HIDDEN} {_BLOCK} {_INLINE}".split()
_NO_MARKUP = re.compile(
    rf"""<(?! /? (?: (?:{"|".join(name for name in _NAMES if len(name) > 1)}) (?:[\s/>]|$)
                   | [{"".join(name for name in _NAMES if len(name) == 1)}] [\s/>]
                   | (?:o|w|v|m|st1):[a-z0-9]+ [\s/>] )
            | !-- | !doctype\s | !\[ | \?xml )""",
    re.IGNORECASE | re.VERBOSE,
)
_HIDING = re.compile(rf"<({_HIDDEN.replace(' ', '|')}|!--)", re.IGNORECASE)
_HIDING_END = re.compile(rf"</({_HIDDEN.replace(' ', '|')})|-->", re.IGNORECASE)


def html_to_text(html: str) -> str:
    r"""The text that a page shows: tags, comments, scripts and styles go, blocks are set off by line breaks.

    Entities stay as they are. Text without a known tag is returned as it is: "a < b", "x<3", "S<M<L" and
    "<stdio.h>" survive; "a<b and c>d" does not, because it is also a tag with two attributes.
    """
    if "<" not in html:
        return html
    if "<![CDATA[" in html:
        html = html.replace("<![CDATA[", "").replace("]]>", "")
    escaped = _NO_MARKUP.sub("&lt;", _show_unclosed(html.replace("&", "&amp;")))
    if "<" not in escaped:
        return html
    return "".join(_texts(LexborHTMLParser(escaped).root))


def _show_unclosed(html: str) -> str:
    """What hides its content but is never closed would hide the rest: a word ("needs <script> tags")."""
    ends = {(match[1] or "!--").lower(): match.start() for match in _HIDING_END.finditer(html)}
    return _HIDING.sub(
        lambda match: match[0] if ends.get(match[1].lower(), -1) > match.start() else f"&lt;{match[1]}", html
    )


def _texts(root: LexborNode | None) -> list[str]:
    """The texts in the order of the page. Walks without recursion: broken pages nest without an end."""
    texts: list[str] = []
    node = root
    while node is not None:
        texts.append(_opening(node))
        below = node.child if node.tag not in _HIDDEN_TAGS else None
        while below is None and node is not None:
            texts.append(_closing(node))
            below, node = node.next, node.parent
        node = below
    return texts


def _opening(node: LexborNode) -> str:
    if node.is_text_node:
        return node.text_content or ""
    return "\n" if node.tag in _BLOCK_TAGS else ""


def _closing(node: LexborNode) -> str:
    return "\n" if node.tag in _BLOCK_TAGS else ""
