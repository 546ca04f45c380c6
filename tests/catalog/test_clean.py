"""Laws of cleaning: pure, idempotent, each step a switch; and ugly pages as real catalogs have them."""

import dataclasses
import pathlib
import tempfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taggen_jax.catalog import words
from taggen_jax.catalog.clean import CleanConfig, cleaner
from taggen_jax.catalog.product import Product

FIELDS = dataclasses.fields(CleanConfig)
OFF = CleanConfig(**{field.name: False for field in FIELDS})
ON = CleanConfig(**{field.name: True for field in FIELDS})


def cleaned(text: str, config: CleanConfig | None = None) -> str:
    return cleaner(config or CleanConfig())(Product(id="1", title=text)).title


def only(**steps: bool) -> CleanConfig:
    return dataclasses.replace(OFF, **steps)


# Pieces that make work for one another, among any text at all.
PIECES = st.sampled_from(
    [
        "<b>",
        "</p>",
        "<br",
        "<",
        ">",
        "&",
        "&lt;",
        "&amp;",
        "&#60;",
        "&#x200d;",
        "lt;",
        "amp;",
        "＜",
        "ｂ",
        "＞",
        "＆",
        "\u200b",
        "\u200d",
        "\u200c",
        "\ufeff",
        "\x00",
        "\x85",
        "👨",
        "👩",
        "क",
        "م",
        "ﾞ",
        "ｶ",
        "\u0308",
        "\xa8",
        "\u3000",
        "http://",
        "www.",
        "a.b/c",
        "THE",
        "the",
        "'",
        "的",
        "目的",
        "保温杯",
        "新款T恤",
        "İ",
        "ſ",
        " ",
        "\n",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<script>",
        "</script>",
        "<table>",
        "<td>",
        "<style ",
        '"',
        "=",
        "ὈΣ",
        "℡",
        "½",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)


@pytest.mark.parametrize("config", [CleanConfig(), ON, *(only(**{field.name: True}) for field in FIELDS)])
@given(text=TEXTS)
@settings(max_examples=40, deadline=None)  # the first Chinese text loads jieba
@example(text="&amp;lt;b&amp;gt;bold")
@example(text="＜b＞ &Copy;")
@example(text="我们的目的是不锈钢保温杯")
def test_cleaning_twice_is_cleaning_once(text, config):
    once = cleaned(text, config)
    assert cleaned(once, config) == once


@given(TEXTS)
def test_without_steps_nothing_changes(text):
    assert cleaned(text, OFF) == text


def test_only_texts_are_cleaned_and_the_argument_stays():
    product = Product(
        id=" a&amp;b ",
        title="<b>T</b>",
        description="D<br>d",
        reviews=("r&eacute;", "<p></p>"),
        group=" g ",
        attributes={"S&iacute;ze ": " L", "Nothing": "<br>"},
        category="A &gt; B",
        language=" en",
        tags=("<b>x</b>",),
    )
    before = dataclasses.asdict(product)
    assert cleaner(CleanConfig())(product) == dataclasses.replace(
        product, title="T", description="D d", reviews=("ré",), attributes={"Síze": "L"}, category="A > B"
    )
    assert dataclasses.asdict(product) == before


@pytest.mark.parametrize(
    ("config", "text", "expected"),
    [
        (only(html=True), "in<b>dus</b>try<p>a&amp;b", "industry\na&amp;b\n"),
        (
            only(html=True),
            "<script>if (a<b) x()</script>t<style>p{}</style><svg><title>s</title></svg>u",
            "tu",
        ),
        (only(entities=True), "caf&eacute; &amp;amp; &#20013;&#x6587; <b>", "café & 中文 <b>"),
        (only(control_characters=True), "\ufeffa\u200bb\x00c\xadd\x0be\tf\u202eg", "abcd e\tfg"),
        (only(nfkc=True), "① ﬁ ㎏ Ｈ ｶﾞ", "1 fi kg H ガ"),
        (only(width=True), "① ﬁ ㎏ Ｈ！\u3000ｶﾞﾗｽ ￥", "① ﬁ ㎏ H! ガラス ¥"),
        (only(urls=True), "<http://x.com/a> <b>x.com</b>", "  <b>x.com</b>"),
        (
            only(urls=True),
            "see http://x.com/a?b=c&d=1. 详见https://x.cn/p谢谢 WWW.X.COM, end",
            "see  . 详见 谢谢  , end",
        ),
        (only(lower_case=True), "Red ÄÖ", "red äö"),
        (only(stop_words=True), "The Vitamin A, and IT don't: 的 目的", " Vitamin A,  IT don't:  目的"),
        (only(segment_chinese=True), "新款T恤 500ml保温杯, wi-fi", "新款 T恤 500ml 保温杯, wi-fi"),
        (only(white_space=True), "\u3000a \t\r\n\xa0b\u2028", "a b"),
        (only(segment_chinese=True, stop_words=True, white_space=True), "我们的目的是不锈钢", "目的 不锈钢"),
    ],
)
def test_a_step_alone(config, text, expected):
    assert cleaned(text, config) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "x<3",
        "I <3 it > all",
        "S<M<L<XL",
        "#include <stdio.h>",
        "<john@x.org>",
        "if a<b",
        "<新款>",
        "R&D, AT&T",
        "Q&A",
        "100% <wool>",
        "<",
        "<!wow",
        "finds <script> tags and <!-- comments in pages",
        "5 <= 6 && 7 >= 2",
        "👨‍👩‍👧 🏳️‍🌈",
        "می‌خواهم",
        "क्‍ष",
    ],
)
def test_text_that_only_looks_like_work_survives(text):
    assert cleaned(text) == text.strip()


def test_joiners_that_shape_nothing_go():
    assert cleaned("co\u200dtt\u200con 棉\u200d质 👨\u200d") == "cotton 棉质 👨"


PAGES = {
    "nested tables, no end tags": (
        "<table border=0 width='100%'><tr><td><table><tr><td><font color=red>Steel</font> <td>500&nbsp;ml"
        "</table><td>Lid<br/>included<tr><td colspan=2>Keeps&nbsp;hot 12&nbsp;h",
        "Steel 500 ml Lid included Keeps hot 12 h",
    ),
    "crossed and broken tags": (
        "<b>Soft <i>cotton</b> shirt</i></p></div>Wash at 30&deg;<br / >do not <span style='x'>iron"
        '<img src="a.jpg" alt=\'a > b\'><ul><li>S<li>M<li>L</ul>end <a href="http://shop.example/x',
        "Soft cotton shirt Wash at 30° do not iron S M L end",
    ),
    "escaped twice, in a feed": (
        "<![CDATA[&amp;lt;p&amp;gt;Fast &amp;amp;amp; light&amp;lt;/p&amp;gt;&lt;br /&gt;"
        "&lt;b&gt;New&lt;/b&gt;]]>",
        "Fast & light New",
    ),
    "a page pasted from Word": (
        "<!DOCTYPE html><html><head><meta charset=utf-8><style>p.MsoNormal{margin:0}</style></head><body>"
        "<!--[if gte mso 9]><xml><o:Office>junk</o:Office></xml><![endif]-->"
        "<p class=MsoNormal>Warm<o:p></o:p></p><p class=MsoNormal>jacket<o:p>&nbsp;</o:p></p>"
        "<script>var x = '<p>no</p>';</script></body></html>",
        "Warm jacket",
    ),
    "emoji, marketing and links": (
        "🔥🔥ＨＯＴ　ＳＡＬＥ🔥🔥 100%\u200b Cotton\ufeff!!! >>> http://bit.example/2x?utm=a&amp;b=c <<< "
        "👨\u200d👩\u200d👧 family\u200d ☆",
        "🔥🔥HOT SALE🔥🔥 100% Cotton!!! >>> <<< 👨\u200d👩\u200d👧 family ☆",
    ),
    "Chinese in full width with half-width leftovers": (
        '【２０２４新款】<p style="font-family:宋体">保温杯　５００ｍｌ，３０４不锈钢；</p>&nbsp;'
        "<p>适用：办公／户外</p>ｱｳﾄﾄﾞｱ①号",
        "【2024新款】 保温杯 500ml,304不锈钢; 适用:办公/户外 アウトドア1号",
    ),
    "a list that forgot it is one": (
        "<UL><LI>Size: S&lt;M&lt;L<LI>Weight &lt; 2kg<LI>-5&#176;C ~ 60&#8451;</UL><HR>Ships from <u>CN",
        "Size: S<M<L Weight < 2kg -5°C ~ 60°C Ships from CN",
    ),
}


@pytest.mark.parametrize("page", PAGES)
def test_an_ugly_page(page):
    text, expected = PAGES[page]
    assert cleaned(text) == expected


def test_deeply_nested_pages_do_not_overflow():
    assert cleaned("<b>" * 5000 + "x" + "<td><table>" * 2000 + "y") == "x y"


@pytest.mark.parametrize(
    "text", ["支持最多的颜色", "还带有内建的浏览器", "新款T恤 wi-fi 保温杯500ml", "研究生命起源"]
)
def test_a_word_alone_is_cut_as_in_its_sentence(text):
    once = words.segment_chinese(text)
    assert once != text and words.segment_chinese(once) == once
    assert once.replace(" ", "") == text.replace(" ", "")


def test_segmenting_leaves_no_file_and_no_log(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    words._cutter.cache_clear()
    assert cleaned("不锈钢保温杯", ON) == "不锈钢 保温杯"
    assert list(pathlib.Path(tmp_path).iterdir()) == []
    assert capfd.readouterr() == ("", "")
