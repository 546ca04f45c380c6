"""The sentences of the demo catalog, as a shop would write them in each language, HTML and all.

No sentence contains a word that is a tag: what a product is tagged with comes only from what fills the gaps.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phrases:
    """One language's templates; the names in braces are filled by `demo`."""

    brands: tuple[str, ...]
    series: tuple[str, ...]
    titles: tuple[str, ...]
    openings: tuple[str, ...]
    points: tuple[str, ...]
    closings: tuple[str, ...]
    praise: tuple[str, ...]
    complaints: tuple[str, ...]
    power: str
    age: str


# The formatter would give every word a line
# fmt: off
ENGLISH = Phrases(
    brands=("Norwell", "Brisk", "Halden", "Tamaro", "Kestrel", "Ostra", "Vintor", "Mellow", "Pinecrest",
            "Lumo", "Calder", "Rivera", "Sorrel", "Fjord", "Amity", "Garnet"),
    series=("Aria", "Velo", "Nova", "Terra", "Mira", "Polar", "Delta", "Luna", "Orion", "Vega", "Atlas",
            "Cosmo", "Prima", "Solo", "Tempo", "Zephyr"),
    titles=("{brand} {series} {kind}, {colour}{size}", "{colour} {kind} {brand} {series}{size}",
            "{brand} {kind} \"{series}\" {colour}{size}"),
    openings=("<p>Meet the <b>{series}</b> {kind} by {brand}. Made of {material} &amp; built to last.</p>",
              "<p>Our {kind}:&nbsp;{material}, checked by hand.<br/>Designed by {brand}.</p>",
              "<div><h2>{brand} {series}</h2><p>{Kind} of {material} you&#39;ll use every day.</p></div>"),
    points=("{Feature} by design", "Really {feature}", "{Feature}, tested for you", "Now also {feature}"),
    closings=("<p>Two years of warranty.</p>", "<p>Free returns &mdash; 30 days.</p>",
              "<p>See <a href=\"https://shop.example/p?utm_source=mail&amp;ref=7\">all offers</a>.</p>",
              "<!-- banner --><p>Ships today.</p>"),
    praise=("I love it!", "Excellent, five stars", "Would buy again, love it", "Excellent &amp; well made"),
    complaints=("Broke after a week", "Disappointed, sent it back", "Okay, but it broke", "Disappointed :-("),
    power="{power} W",
    age="{age}+ years",
)

CHINESE = Phrases(
    brands=("云栖", "木野", "山岚", "青禾", "朗悦", "初见", "北辰", "海沐", "乐途", "松果", "星河", "拾光",
            "白鹭", "锦程", "小满", "知微"),
    series=("清风", "晨曦", "远山", "流光", "满月", "极光", "听雨", "归途", "长空", "千帆", "明川", "雅致",
            "时光", "星野", "暖阳", "云海"),
    titles=("{brand}{series}{kind}　{colour}{size}", "【{brand}】{kind}{series}系列 {colour}{size}",
            "{brand} {colour}{kind}（{series}）{size}"),
    openings=("<p>{brand}全新<b>{series}</b>{kind}，采用{material}材料，经久耐用。</p>",
              "<p>我们的{kind}：{material}制成，&nbsp;做工细致！<br/>由{brand}设计。</p>",
              "<div><h2>{brand}·{series}</h2><p>一款{material}{kind}，每天都用得上。</p></div>"),
    points=("{feature}设计", "真正{feature}", "{feature}，亲测有效", "全新升级：{feature}"),
    closings=("<p>质保２年。</p>", "<p>３０天无理由退货&mdash;&mdash;放心购买。</p>",
              "<p>点击<a href=\"https://shop.example/p?utm_source=wx&amp;ref=7\">查看更多</a>。</p>",
              "<!-- 广告 --><p>今日发货（全国包邮）。</p>"),
    praise=("非常喜欢！", "五星好评，很满意", "还会再买，喜欢", "很满意，做工好"),
    complaints=("用了一周就坏了", "很失望，已退货", "还行吧，但是坏了", "失望……"),
    power="{power}Ｗ",
    age="{age}岁＋",
)
# fmt: on
