"""From the raw values of a row to a product, field by field; what does not fit is a BadRow with a reason."""

import math
import reprlib
from collections.abc import Mapping

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.rows import BadRow, decode, json_type, parse_json


def to_product(values: Mapping[str, object], *, tag_separator: str, review_separator: str) -> Product:
    """Builds a product from raw values by field name. An absent value, null and "" are the same.

    Texts may be `str` or UTF-8 bytes. A number is taken as its text for id and group, which are often
    numbers, and as the value of an attribute. A list may also be one text: split at its separator, or, when
    there is no separator, a JSON list; attributes may be the text of a JSON object (CSV has no other way).

    Where a row does not say whether its tags are complete, they are if there are any.

    Raises:
      BadRow: missing_id, missing_title, wrong_type, broken_json, invalid_utf8 or invalid_unicode.
    """
    product = Product(
        id=_name(values, "id"),
        title=_text(values, "title"),
        description=_text(values, "description"),
        reviews=_list(values, "reviews", review_separator, "review_separator"),
        attributes=_attributes(values),
        category=_text(values, "category"),
        language=_text(values, "language"),
        group=_name(values, "group"),
        tags=(tags := _list(values, "tags", tag_separator, "tag_separator")),
        complete=_flag(values, "complete", bool(tags)),
    )
    if not product.id.strip():
        raise BadRow("missing_id: there is no id, or an empty one")
    if not product.title.strip():
        raise BadRow("missing_title: there is no title, or an empty one")
    return product


def _text(values: Mapping[str, object], field: str) -> str:
    value = values.get(field)
    return "" if _absent(value) else _checked(value, f"field '{field}'")


def _name(values: Mapping[str, object], field: str) -> str:
    value = values.get(field)
    return "" if _absent(value) else _number_or_text(value, f"field '{field}'")


def _flag(values: Mapping[str, object], field: str, default: bool) -> bool:
    value = values.get(field)
    if isinstance(value, str | bytes):
        text = _checked(value, f"field '{field}'").strip().lower()
        value = {"": None, "true": True, "false": False}.get(text, text)
    if _absent(value):
        return default
    if not isinstance(value, bool):
        raise BadRow(f"wrong_type: field '{field}' is {json_type(value)}, expected true or false")
    return value


def _list(values: Mapping[str, object], field: str, separator: str, option: str) -> tuple[str, ...]:
    value = values.get(field)
    if isinstance(value, str | bytes):
        value = _split(_checked(value, f"field '{field}'"), field, separator, option)
    if not isinstance(value, list | None):
        raise BadRow(f"wrong_type: field '{field}' is {json_type(value)}, expected a list of strings")
    items = enumerate(value or ())
    texts = (_checked(item, f"field '{field}'[{i}]") for i, item in items if not _absent(item))
    return tuple(text for text in texts if text.strip())


def _split(text: str, field: str, separator: str, option: str) -> object:
    if separator:
        return [piece.strip() for piece in text.split(separator)]
    if text.lstrip().startswith("["):
        return parse_json(text, f"field '{field}'")
    if text.strip():
        raise BadRow(
            f"wrong_type: field '{field}' is a string, expected a list of strings; "
            f"if it is a list written as one string, set {option} in the config's catalog"
        )
    return []


def _attributes(values: Mapping[str, object]) -> dict[str, str]:
    value = values.get("attributes")
    if isinstance(value, str | bytes):
        text = _checked(value, "field 'attributes'")
        value = parse_json(text, "field 'attributes'") if text.strip() else None
    if not isinstance(value, dict | None):
        raise BadRow(f"wrong_type: field 'attributes' is {json_type(value)}, expected an object of strings")
    where = "field 'attributes'"
    pairs = [(_checked(key, f"a key of {where}"), item) for key, item in (value or {}).items()]
    return {
        key: _number_or_text(item, f"{where}[{reprlib.repr(key)}]")
        for key, item in pairs
        if not _absent(item)
    }


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))  # as data frames write it


def _number_or_text(value: object, where: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return _checked(value, where)


def _checked(value: object, where: str) -> str:
    """A text that UTF-8 can hold: JSON can spell lone surrogates, which are no Unicode text."""
    text = decode(value) if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise BadRow(f"wrong_type: {where} is {json_type(value)}, expected a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"invalid_unicode: {where} holds a lone surrogate at character {error.start}") from None
    return text
