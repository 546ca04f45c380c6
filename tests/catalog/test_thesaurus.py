"""Laws of a governed vocabulary: what is written comes back, and every mistake is named with its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.catalog.spelling import Speller, Spelling
from taggen_jax.catalog.tags import TagsConfig
from taggen_jax.catalog.taxonomies import read, renamed
from taggen_jax.catalog.thesaurus import Term, Thesaurus, load
from taggen_jax.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(str.strip)
TERMS = st.lists(
    st.builds(
        Term,
        id=TEXT,
        names=st.dictionaries(st.sampled_from(["en", "de", "zh"]), TEXT, min_size=1),
        synonyms=st.lists(TEXT, max_size=2).map(tuple),
        status=st.sampled_from(["active", "proposed"]),
        policy=st.sampled_from(["", "adult"]),
    ),
    max_size=5,
    unique_by=lambda term: term.id,
)
BOOTS = Term(id="1", names={"en": "Boots", "de": "Stiefel"}, synonyms=("boot", "Wellies"), parents=("2",))
SHOES = Term(id="2", names={"en": "Shoes", "de": "Schuhe"}, parents=("3",))
APPAREL = Term(id="3", names={"en": "Apparel"})
OLD = Term(id="4", names={"en": "Bootees"}, status="deprecated", replaced_by="5")
OLDER = Term(id="5", names={"en": "Half boots"}, status="deprecated", replaced_by="1")
NEW = Term(id="6", names={"en": "Clogs"}, parents=("4",), status="proposed", policy="wood")
SHOP = (BOOTS, SHOES, APPAREL, OLD, OLDER, NEW)


@given(TERMS)
def test_saved_and_loaded_is_the_same(tmp_path_factory, terms):
    path = tmp_path_factory.mktemp("terms") / "terms.jsonl"
    Thesaurus(terms).save(path)
    assert list(load(path).terms.values()) == terms


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"id": "1", "names"'], "t.jsonl:1: not JSON"),
        (["[]"], "t.jsonl:1: got list, expected an object"),
        (['{"names": {"en": "a"}}'], "t.jsonl:1: id is missing"),
        (['{"id": "1", "names": {}}'], "t.jsonl:1: names is {}, expected names by language"),
        (['{"id": "1", "names": {"en": "a"}, "name": "a"}'], "t.jsonl:1: no field 'name' in a term"),
        (['{"id": "1", "names": {"en": "a"}, "status": "old"}'], "status is 'old', expected one of active"),
        (['{"id": "1", "names": {"en": "a"}, "parents": "2"}'], "parents is '2', expected a list of ids"),
        (['{"id": "1", "names": {"en": "a"}}', "", '{"id": "1", "names": {"en": "b"}}'], "t.jsonl:3: id '1'"),
        (['{"id": "1", "names": {"en": "a"}, "parents": ["7"]}'], "t.jsonl:1: parent '7' of '1' is no term"),
        (['{"id": "1", "names": {"en": "a"}, "status": "deprecated"}'], "t.jsonl:1: '1' is deprecated with"),
        (['{"id": "1", "names": {"en": "a"}, "replaced_by": "1"}'], "'1' is replaced by another, but active"),
        (
            ['{"id": "1", "names": {"en": "a"}, "status": "deprecated", "replaced_by": "7"}'],
            "t.jsonl:1: successor '7' of '1' is no term",
        ),
        (
            [f'{{"id": "{a}", "names": {{"en": "{a}"}}, "parents": ["{b}"]}}' for a, b in ("12", "21")],
            "parents run in a circle",
        ),
        (
            ['{"id": "1", "names": {"en": "a"}, "status": "deprecated", "replaced_by": "1"}'],
            "t.jsonl:1: successors run in a circle: 1 -> 1",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path, lines, message):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as error:
        load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_circle_is_told_in_the_direction_of_the_edges():
    terms = [Term(id=a, names={"en": a}, parents=(b,)) for a, b in ("xy", "yz", "zx")]
    with pytest.raises(UserError, match=r"x -> y -> z -> x|y -> z -> x -> y|z -> x -> y -> z"):
        Thesaurus(terms)


def spelling(*terms: Term, **config) -> Spelling:
    return Spelling(Thesaurus(terms), TagsConfig(vocabulary="t.jsonl", **config))


@pytest.mark.parametrize("language", ["", "de"])
def test_every_spelling_of_a_term_is_its_one_tag(language):
    found = spelling(*SHOP, language=language)
    tag = {"": "Boots", "de": "Stiefel"}[language]
    for written in ("Boots", "Stiefel", "boot", "Wellies", "1", "Bootees", "Half boots", "4"):
        assert found.tag_of[written] == tag, written
    assert "Bootees" not in found.tags and found.deprecated("Bootees") and not found.deprecated(tag)
    assert found.ancestors(tag) == ({"": "Shoes", "de": "Schuhe"}[language], "Apparel")
    assert found.ancestors("Clogs")[0] == tag  # the parent is deprecated twice: its successor's successor


def test_only_active_tags_of_no_withheld_policy_may_be_given():
    found = spelling(*SHOP, Term(id="7", names={"en": "Stilettos"}, policy="adult"))
    given = [tag for tag in found.tags if found.may_be_given(tag, ["adult"])]
    assert given == ["Boots", "Shoes", "Apparel"] and found.may_be_given("Stilettos", ["medical"])
    assert not found.may_be_given("Bootees") and not found.may_be_given("never heard of")


def test_one_spelling_for_two_tags_is_a_mistake_unless_a_name_merely_occurs_in_another_language():
    poison = Term(id="8", names={"en": "Poison", "de": "Gift"})
    present = Term(id="9", names={"en": "Gift", "de": "Geschenk"})
    for language, meaning in (("", "Gift"), ("de", "Gift")):
        assert spelling(poison, present, language=language).tag_of["Gift"] == meaning
    assert spelling(poison, present, language="").tag_of["Geschenk"] == "Gift"
    with pytest.raises(UserError, match=r"t\.jsonl: terms '1' and '7' are both called 'Boots'"):
        spelling(*SHOP, Term(id="7", names={"en": "Boots"}))
    with pytest.raises(UserError, match="'boot' stands for both 'Boots' and 'Ships'"):
        spelling(*SHOP, Term(id="7", names={"en": "Ships"}, synonyms=("boot",)))
    with pytest.raises(UserError, match="'Boots' stands for both 'Boots' and 'Ships'"):
        spelling(*SHOP, Term(id="7", names={"en": "Ships"}, synonyms=("Boots",)))


@pytest.mark.parametrize("unknown", ["propose", "drop"])
def test_the_speller_counts_what_it_meets(tmp_path, unknown):
    Thesaurus(SHOP).save(tmp_path / "t.jsonl")
    spell = Speller(TagsConfig(vocabulary=str(tmp_path / "t.jsonl"), unknown=unknown, synonyms={"x": "boot"}))
    assert (
        spell(["boot", "Ｂoots", "Bootees", "Sandals"]) == ("Boots", "Sandals")[: 1 + (unknown == "propose")]
    )
    assert spell(["x"]) == ("Boots",) and spell(["Sandals", "Hats"])[1:] == (
        ("Hats",) if unknown == "propose" else ()
    )
    assert spell.counts == {"as they are": 1, "other spellings": 2, "deprecated": 1, "unknown": 3}
    assert list(spell.proposed().items()) == [("Sandals", 2), ("Hats", 1)]
    once = spell(["boot", "Bootees", "Clogs"])
    assert spell(once) == once


GOOGLE = """# Google_Product_Taxonomy_Version: 2021-09-21
1 - Animals
3237 - Animals > Live Animals
2 - Animals > Supplies
166 - Apparel
9 - Apparel > Supplies
"""
SHOPIFY = """# Format: {GID} : {Ancestor name} > ... > {Category name}

gid://shopify/TaxonomyCategory/ap  : Animals
gid://shopify/TaxonomyCategory/ap-1: Animals > Live Animals
"""
INDENTED = "Animals\n\tLive Animals\n\t\tCats\n\tSupplies\nApparel\n\tSupplies\n"


def imported(tmp_path, text, form, language="en"):
    (tmp_path / "in.txt").write_text(text)
    return read(tmp_path / "in.txt", form, language).terms


def test_googles_taxonomy(tmp_path):
    terms = imported(tmp_path, GOOGLE, "paths")
    assert list(terms) == ["1", "3237", "2", "166", "9"]
    assert terms["3237"] == Term(
        id="3237", names={"en": "Animals > Live Animals"}, synonyms=("Live Animals",), parents=("1",)
    )
    assert terms["2"].synonyms == () and terms["9"].parents == ("166",)  # there are two kinds of supplies


def test_shopifys_taxonomy(tmp_path):
    terms = imported(tmp_path, SHOPIFY, "paths")
    live = terms["gid://shopify/TaxonomyCategory/ap-1"]
    assert live.name() == "Animals > Live Animals" and live.parents == ("gid://shopify/TaxonomyCategory/ap",)


def test_an_indented_list_is_the_taxonomy_of_its_paths(tmp_path):
    leaves = "Animals > Live Animals > Cats\nAnimals > Supplies\nApparel > Supplies\n"
    paths = "Animals\nAnimals > Live Animals\nApparel\n" + leaves
    tabs, spaces = (imported(tmp_path, INDENTED.replace("\t", by), "indented") for by in ("\t", "   "))
    assert tabs == spaces
    for term in imported(tmp_path, paths, "paths").values():
        own = tabs[term.id]
        assert own.parents == term.parents
        assert (own.name(), *own.synonyms) == (*term.synonyms, term.name())
    assert tabs["Animals > Supplies"].name() == "Animals > Supplies"  # there are two kinds
    assert imported(tmp_path, leaves, "paths").keys() == imported(tmp_path, paths, "paths").keys()


def test_a_plain_list_takes_lines_as_they_are(tmp_path):
    terms = imported(tmp_path, "12 - a > b\nC++\n", "list")
    assert [term.name() for term in terms.values()] == ["12 - a > b", "C++"]


def test_another_language_adds_names_and_keeps_decisions(tmp_path):
    Thesaurus(imported(tmp_path, GOOGLE, "paths").values()).save(tmp_path / "t.jsonl")
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {"policy": "live", "synonyms": ["pets"]})
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    (tmp_path / "de.txt").write_text("1 - Tiere\n3237 - Tiere > Lebende Tiere\n7 - Tiere > Neues\n")
    merged = renamed(load(tmp_path / "t.jsonl"), read(tmp_path / "de.txt", "paths", "de")).terms
    assert merged["3237"].names == {"en": "Animals > Live Animals", "de": "Tiere > Lebende Tiere"}
    assert merged["3237"].policy == "live" and merged["3237"].synonyms == ("pets", "Lebende Tiere")
    assert merged["166"].names == {"en": "Apparel"} and merged["7"].parents == ("1",)


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("# nothing\n\n", "list", "no line with a tag in it"),
        ("a\nb\na\n", "list", r"in\.txt:3: 'a' is there already, see .*in\.txt:1"),
        ("a\n    b\n  c\n", "indented", r"in\.txt:3: indented by 2, but no line above is"),
        ("  a\n", "indented", r"in\.txt:1: indented by 2, with nothing above"),
        ("a\n \tb\n", "indented", r"in\.txt:2: indented by spaces and by tabs"),
        ("a >  > b\n", "paths", r"in\.txt:1: a step of 'a >  > b' is empty"),
        ("1 - a\n1 - b\n", "paths", r"in\.txt:2: id '1' is there already"),
        ("gid://x/1 : a\nb\n", "paths", r"in\.txt:2: no id before the path"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, text, form, message):
    with pytest.raises(UserError, match=message):
        imported(tmp_path, text, form)
