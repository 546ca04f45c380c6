"""The world of the demo catalog: kinds of products, what follows from what, and its Chinese names.

Every word is kept once, in English; `CHINESE` translates all of them. Brands and sentences, which are not
translations of each other, are in `demo_phrases`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of product, with all that one of its products may have.

    `weight` is its share of the catalog, relative to the other kinds. Powers are in watts.
    """

    name: str
    department: str
    category: str
    materials: tuple[str, ...]
    features: tuple[str, ...]
    weight: int = 2
    powers: tuple[int, ...] = ()
    sizes: tuple[str, ...] = ()
    ages: tuple[int, ...] = ()


# Tables: the formatter would give every word a line
# fmt: off
KINDS = (
    Kind(name="kettle", department="kitchen", category="Kettles and Teapots", weight=3,
         materials=("stainless steel", "glass", "plastic"), powers=(1000, 1500, 2200, 3000),
         features=("insulated", "quiet", "portable", "wireless", "non-slip")),
    Kind(name="toaster", department="kitchen", category="Toasters and Grills",
         materials=("stainless steel", "plastic", "glass"), powers=(1000, 1500, 2200),
         features=("adjustable", "quiet", "non-slip", "portable")),
    Kind(name="frying pan", department="kitchen", category="Pots and Pans", weight=3,
         materials=("stainless steel", "aluminium", "cast iron", "ceramic"),
         features=("non-stick", "non-slip", "insulated", "portable")),
    Kind(name="lunch box", department="kitchen", category="Boxes and Jars",
         materials=("stainless steel", "bamboo", "glass", "plastic"),
         features=("leakproof", "insulated", "portable", "washable", "foldable")),
    Kind(name="headphones", department="electronics", category="Headphones and Earbuds", weight=3,
         materials=("aluminium", "plastic", "leather"),
         features=("wireless", "noise-cancelling", "foldable", "rechargeable", "soft")),
    Kind(name="power bank", department="electronics", category="Batteries and Chargers",
         materials=("aluminium", "plastic", "leather"), powers=(10, 15, 45, 65),
         features=("magnetic", "wireless", "portable", "waterproof", "non-slip")),
    Kind(name="keyboard", department="electronics", category="Keyboards and Mice",
         materials=("aluminium", "bamboo", "plastic", "rubber"),
         features=("wireless", "backlit", "quiet", "rechargeable", "foldable")),
    Kind(name="running shoes", department="sports", category="Shoes and Trainers", weight=3,
         materials=("mesh", "leather", "polyester"), sizes=("38", "40", "42", "44"),
         features=("breathable", "non-slip", "waterproof", "quick-dry", "soft")),
    Kind(name="yoga mat", department="sports", category="Mats and Blocks",
         materials=("cork", "rubber", "cotton", "plastic"),
         features=("non-slip", "foldable", "washable", "soft", "portable")),
    Kind(name="tent", department="outdoor", category="Tents and Tarpaulins", weight=3,
         materials=("polyester", "nylon", "cotton"),
         features=("waterproof", "windproof", "breathable", "foldable", "portable")),
    Kind(name="backpack", department="outdoor", category="Bags and Rucksacks",
         materials=("nylon", "leather", "polyester", "recycled fabric"),
         features=("waterproof", "adjustable", "foldable", "breathable", "washable")),
    Kind(name="sleeping bag", department="outdoor", category="Sleeping Bags", weight=1,
         materials=("down", "cotton", "polyester", "nylon"),
         features=("waterproof", "washable", "windproof", "soft", "quick-dry")),
    Kind(name="jacket", department="clothing", category="Jackets and Coats", weight=3,
         materials=("down", "wool", "leather", "polyester", "nylon"), sizes=("S", "M", "L", "XL"),
         features=("windproof", "waterproof", "quick-dry", "breathable", "washable")),
    Kind(name="scarf", department="clothing", category="Scarves and Shawls",
         materials=("wool", "cotton", "linen", "silk"),
         features=("soft", "washable", "breathable", "quick-dry")),
    Kind(name="blanket", department="living room", category="Blankets and Throws",
         materials=("wool", "cotton", "linen", "polyester"),
         features=("soft", "washable", "foldable", "breathable")),
    Kind(name="desk lamp", department="living room", category="Lamps and Bulbs",
         materials=("bamboo", "plastic", "glass", "ceramic"), powers=(10, 15),
         features=("dimmable", "adjustable", "rechargeable", "magnetic", "foldable")),
    Kind(name="building blocks", department="toys", category="Building and Crafts", weight=1,
         materials=("wood", "plastic", "bamboo"), ages=(3, 6, 14),
         features=("magnetic", "washable", "portable", "soft")),
    Kind(name="puzzle", department="toys", category="Puzzles and Games", weight=1,
         materials=("cardboard", "wood", "cork"), ages=(3, 6, 14),
         features=("magnetic", "foldable", "portable", "non-slip")),
)
# fmt: on

USES = {
    "stainless steel": "rustproof",
    "aluminium": "lightweight",
    "bamboo": "eco-friendly",
    "cork": "eco-friendly",
    "recycled fabric": "eco-friendly",
    "down": "winter",
    "wool": "winter",
    "linen": "summer",
    "mesh": "summer",
}
"""The tag that a material implies; the tag itself is never written in a product's text."""

COLOURS = ("black", "white", "grey", "red", "blue", "green", "yellow", "orange")

# fmt: off
CHINESE = {
    # kinds, their departments and categories
    "kettle": "电水壶", "toaster": "烤面包机", "frying pan": "平底锅", "lunch box": "饭盒",
    "headphones": "耳机", "power bank": "充电宝", "keyboard": "键盘", "running shoes": "跑步鞋",
    "yoga mat": "瑜伽垫", "tent": "帐篷", "backpack": "双肩包", "sleeping bag": "睡袋", "jacket": "外套",
    "scarf": "围巾", "blanket": "毛毯", "desk lamp": "台灯", "building blocks": "积木", "puzzle": "拼图",
    "kitchen": "厨房", "electronics": "数码", "sports": "运动", "outdoor": "户外", "clothing": "服饰",
    "living room": "家居", "toys": "玩具",
    "Kettles and Teapots": "水壶茶壶", "Toasters and Grills": "面包机与烤架", "Pots and Pans": "锅具",
    "Boxes and Jars": "盒罐", "Headphones and Earbuds": "耳机耳塞", "Batteries and Chargers": "电池与充电器",
    "Keyboards and Mice": "键盘鼠标", "Shoes and Trainers": "鞋靴", "Mats and Blocks": "垫子与瑜伽砖",
    "Tents and Tarpaulins": "帐篷天幕", "Bags and Rucksacks": "箱包", "Sleeping Bags": "睡袋",
    "Jackets and Coats": "外套大衣", "Scarves and Shawls": "围巾披肩", "Blankets and Throws": "毛毯盖毯",
    "Lamps and Bulbs": "灯具灯泡", "Building and Crafts": "拼搭手工", "Puzzles and Games": "拼图与桌游",
    # features
    "insulated": "保温", "quiet": "静音", "portable": "便携", "wireless": "无线", "non-slip": "防滑",
    "adjustable": "可调节", "non-stick": "不粘", "washable": "可机洗", "foldable": "可折叠",
    "leakproof": "防漏", "noise-cancelling": "降噪", "rechargeable": "可充电", "soft": "柔软",
    "magnetic": "磁吸",
    "waterproof": "防水", "backlit": "背光", "breathable": "透气", "quick-dry": "速干", "windproof": "防风",
    "dimmable": "可调光",
    # materials and colours
    "stainless steel": "不锈钢", "glass": "玻璃", "plastic": "塑料", "aluminium": "铝合金",
    "cast iron": "铸铁", "ceramic": "陶瓷", "bamboo": "竹子", "leather": "皮革", "rubber": "橡胶",
    "mesh": "网布",
    "polyester": "涤纶", "cork": "软木", "cotton": "棉", "nylon": "尼龙", "recycled fabric": "再生面料",
    "down": "羽绒", "wool": "羊毛", "linen": "亚麻", "silk": "真丝", "wood": "木头", "cardboard": "纸板",
    "black": "黑色", "white": "白色", "grey": "灰色", "red": "红色", "blue": "蓝色", "green": "绿色",
    "yellow": "黄色", "orange": "橙色",
    # tags that are never written in a text
    "rustproof": "防锈", "lightweight": "轻便", "eco-friendly": "环保", "winter": "冬季", "summer": "夏季",
    "fast": "快速", "bestseller": "热销", "gift for kids": "送孩子",
    # attributes
    "material": "材质", "colour": "颜色", "size": "尺码", "power": "功率", "age": "年龄",
}
# fmt: on
