"""Words that say nothing about a product, and Chinese text cut into words."""

import functools
import re
import warnings
from collections.abc import Callable

# Short on purpose. Left out are words that name a product, an audience or a feature: "it", "us", "can", "no",
# "not", "off", "on", "under", "her", "his", and single letters ("vitamin A").
_ENGLISH = """and are as at be been being but by did do does for from had has have how if in into is its my of
or our so such than that the their them then there these they this those to too was we were what when where
which while who whose why with would you your"""
_CHINESE = """的 了 和 与 及 或 是 在 也 都 就 而 而且 以及 还 还有 这 那 这个 那个 这些 那些 我 我们 你 你们
您 之 其 被 把 给 对 对于 从 由 于 因为 所以 但 但是 如果 虽然 并 并且
等 吧 吗 呢 啊 哦 呀 嘛 很 非常 着 过 地 得"""
_STOP_WORDS = frozenset([*_ENGLISH.split(), *_CHINESE.split()])
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

_HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HAN_RUN = re.compile(rf"[0-9A-Za-z]*[{_HAN}][0-9A-Za-z{_HAN}]*")  # with the Latin of "T恤" and "卡拉OK"


def drop_stop_words(text: str) -> str:
    """Takes out English and Chinese stop words, in any letter case.

    Chinese ones are found where they stand alone, which is after `segment_chinese`.
    """
    return _WORD.sub(lambda match: "" if match[0].lower() in _STOP_WORDS else match[0], text)


def segment_chinese(text: str) -> str:
    """Sets spaces between the words of Chinese text, by jieba's dictionary; other text stays as it is.

    Jieba's guesses at words outside its dictionary are not used: a word is then cut the same alone as in its
    sentence, so that segmenting twice changes nothing.
    """
    return _HAN_RUN.sub(lambda match: " ".join(_cutter()(match[0])), text)


@functools.cache
def _cutter() -> Callable[[str], list[str]]:
    with warnings.catch_warnings():  # jieba's own, about the packaging tools it was made with
        warnings.simplefilter("ignore")
        import jieba  # here, because it takes a second or two that only Chinese text is worth
    tokenizer = jieba.Tokenizer()
    # What jieba.initialize() does, without its log and its cache file in the folder for temporary files.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return functools.partial(tokenizer.lcut, HMM=False)
