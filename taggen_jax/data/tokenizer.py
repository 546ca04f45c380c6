"""Text to ids and back: any Hugging Face tokenizer folder, or one that was trained on the catalog.

A tag is encoded alone, without a look at its neighbours, so that the target of a tag list is the ids of its
tags joined by the separator's id: lists can be cut, shuffled and searched as whole tags.
"""

import bisect
import collections
import dataclasses
import io
import itertools
import os
import pathlib
import random
import string
from collections.abc import Iterable, Sequence
from typing import Self

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from taggen_jax.catalog.tags import escape, unescape
from taggen_jax.data import byte_tokens
from taggen_jax.errors import UserError
from taggen_jax.files import read_json

# Its advice to install PyTorch is for models; here only its tokenizers are used.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
TAGS = "tags"  # in a tokenizer's folder, that of the tokenizer of tags
_PAD, _EOS, _UNK = "<pad>", "</s>", "<unk>"
_SENTINEL = "<extra_id_{}>"  # as T5 spells them
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what SentencePiece writes for a space
_TAG_WEIGHT = 16  # debtags: 2.1 pieces a tag, 3.3 at weight 1, no fewer at 64
_SHORTEST_LIMIT = 10  # the least that SentencePiece takes as the greatest length of a sentence
_LONGEST_PIECE = 32  # characters; a whole frequent tag can be one piece
_NEVER = -1000.0  # a score under which a special piece spelt out in a text is never taken for that piece
_GENERIC = ("TokenizersBackend", "PreTrainedTokenizerFast")  # classes that add nothing to tokenizer.json


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Where the tokenizer comes from.

    Attributes:
      path: a Hugging Face tokenizer folder to load; "" trains one on the catalog, with the rest:
      vocab_size: number of ids at most; a small catalog yields fewer.
      tag_vocab_size: above 0, tags are spelt by a tokenizer of their own, of at most this many ids, half of
        which may be frequent tags as a whole. For a model whose decoder has a vocabulary of its own, and
        where the text's tokenizer would not give tags back as they are (one that lower-cases, say).
      sentinels: how many tokens <extra_id_0>, <extra_id_1>, .. to keep free, which stand for what denoising
        hides (`data.corruption`).
      character_coverage: share of the catalog's characters that get pieces; the rarer ones become bytes.
      max_sentences: products (and as many tags) to learn from at most, drawn evenly; time grows with it.
    """

    path: str = ""
    vocab_size: int = 8192
    tag_vocab_size: int = 0
    sentinels: int = 0
    character_coverage: float = 0.9995
    max_sentences: int = 10_000

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that no tokenizer can have."""
        if self.vocab_size < 1 or self.max_sentences < 1 or self.tag_vocab_size < 0 or self.sentinels < 0:
            raise ValueError(
                "vocab_size and max_sentences must be at least 1, tag_vocab_size and sentinels at least 0"
            )
        if not 0 < self.character_coverage <= 1:
            raise ValueError(f"character_coverage={self.character_coverage} must be in (0, 1]")


class Tokenizer:
    """A tokenizer with a separator between tags.

    Attributes:
      size: ids are 0 .. size-1.
      pad, eos, separator: ids; separator is -1 where tags have a tokenizer of their own.
      before: ids that a model wants before a text.
      sentinels: ids of <extra_id_0>, <extra_id_1>, ..; () where it has none.
      mask: the id of <mask>; -1 where it has none.
      unknown: the id of text that the tokenizer cannot spell; -1 if it can spell everything.
      tags: the tokenizer that spells tags: another one, or this one itself.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        pad: str,
        eos: str,
        unknown: str,
        separator: str,
        speller: Self | None = None,
    ) -> None:
        """Takes over `backend`; pad, eos, unknown ("" if none) and separator are the texts of its tokens.

        Args:
          speller: the tokenizer that spells tags, where it is not this one; then no separator is looked for.

        Raises:
          UserError: the separator is no single token of this tokenizer, or serves another purpose.
        """
        backend.no_truncation()  # a tokenizer.json can carry both, left over from its own training
        backend.no_padding()
        backend.encode_special_tokens = True  # "</s>" in a product's text is text
        self._backend, self._names = backend, {"pad_token": pad, "eos_token": eos, "unk_token": unknown}
        self._separator_text = separator
        known = backend.get_vocab(with_added_tokens=True)
        self.size = max(known.values()) + 1
        self.pad, self.eos = self._id(pad, "pad token"), self._id(eos, "end token")
        self.unknown = self._id(unknown, "unknown token") if unknown else -1
        frame = backend.encode("").ids  # what the tokenizer's model wants around a text: [CLS] and [SEP], say
        self.before = frame[: frame.index(self.eos)] if self.eos in frame else frame
        self.tags = speller or self
        self.separator = -1 if speller else self._id(separator, "tag separator")
        free = itertools.takewhile(known.__contains__, map(_SENTINEL.format, itertools.count()))
        self.sentinels = tuple(known[name] for name in free if name != separator)
        self.mask = known.get("<mask>", -1)
        if not speller and self.separator in (self.pad, self.eos, self.unknown):
            raise UserError(
                f"tags.separator: {separator!r} is the padding, end or unknown token of this tokenizer,"
                f" expected one without a duty; {self._advice()}"
            )

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, whole and without an end."""
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def pieces_of_parts(self, texts: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[list[int]]]:
        """The ids of each text, of which the parts are given; and how many of them each part has.

        An id that lies in two parts is the later one's.
        """
        encodings = self._backend.encode_batch(["".join(parts) for parts in texts], add_special_tokens=False)
        counts = [_counts(encoding.offsets, parts) for encoding, parts in zip(encodings, texts, strict=True)]
        return [encoding.ids for encoding in encodings], counts

    def cut(self, pieces: Sequence[int], length: int) -> list[int]:
        """`pieces` after what the model wants before a text, closed by eos and cut to `length` in all."""
        return [*self.before, *pieces[: self._room(length)], self.eos]

    def cuts(self, pieces: Sequence[int], length: int) -> bool:
        """Whether `cut` leaves out the end of `pieces`."""
        return len(pieces) > self._room(length)

    def _room(self, length: int) -> int:
        return max(0, length - len(self.before) - 1)

    def encode(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """What a model reads: at most `length` ids a text, the last one eos, unpadded."""
        return [self.cut(pieces, length) for pieces in self.pieces(texts)]

    def encode_tag(self, tag: str) -> list[int]:
        """The ids of one tag, without separator and end; the same wherever the tag stands in a list."""
        return self._backend.encode(escape(tag, self._separator_text), add_special_tokens=False).ids

    def decode_tags(self, ids: Iterable[int]) -> tuple[str, ...]:
        """The tags that `ids` spell up to the first end or padding; repeats stay, empty ones go.

        Special tokens that a model wrote inside a tag stay visible, so that such a tag counts as a wrong one.
        """
        written = itertools.takewhile(lambda i: i not in (self.eos, self.pad), map(int, ids))
        chunks = [
            list(chunk)
            for separates, chunk in itertools.groupby(written, lambda i: i == self.separator)
            if not separates
        ]
        texts = self._backend.decode_batch(chunks, skip_special_tokens=False)
        return tuple(unescape(text, self._separator_text) for text in texts if text)

    def tokens(self) -> list[str]:
        """The text of each id, as the vocabulary spells it."""
        return [self._backend.id_to_token(i) or "" for i in range(self.size)]

    def survives(self, tag: str) -> bool:
        """Whether the tag comes back from its ids unchanged. What does not can never be generated."""
        return self.decode_tags(self.encode_tag(tag)) == (tag,)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes a folder that `load` and `transformers.AutoTokenizer.from_pretrained` read."""
        from transformers import PreTrainedTokenizerFast  # takes seconds; most runs never save

        names = {key: name for key, name in self._names.items() if name}
        separator = [] if self.separator < 0 else [self._separator_text]
        PreTrainedTokenizerFast(
            tokenizer_object=self._backend, extra_special_tokens=separator, **names
        ).save_pretrained(os.fspath(folder))
        if self.tags is not self:
            self.tags.save(pathlib.Path(folder) / TAGS)

    def _id(self, token: str, role: str) -> int:
        found = self._backend.token_to_id(token) if token else None
        if found is None:
            raise UserError(
                f"{role}: the tokenizer has no single token {token!r}, expected exactly one; {self._advice()}"
            )
        return found

    def _advice(self) -> str:
        others = [token.content for token in self._backend.get_added_tokens_decoder().values()]
        free = sorted(set(others) - {*self._names.values(), self._separator_text})
        return f"set tags.separator to e.g. {free[0]!r}" if free else "train one (tokenizer.path='')"


def _counts(offsets: Sequence[tuple[int, int]], parts: Sequence[str]) -> list[int]:
    """How many of some ids, which stand for characters (start, end), belong to each part of the text."""
    ends = list(itertools.accumulate(map(len, parts)))
    owners = [bisect.bisect_right(ends, end - 1) for _, end in offsets]
    owners = list(itertools.accumulate(owners, max))  # an id for no character belongs to the one before it
    found = collections.Counter(owners)
    return [found[part] for part in range(len(parts))]


def load(folder: str | os.PathLike[str], separator: str, speller: Tokenizer | None = None) -> Tokenizer:
    """Opens a Hugging Face tokenizer folder; never looks outside this machine.

    Args:
      speller: the tokenizer of tags; None takes that of the folder's tags/, if any.

    Raises:
      UserError: no such folder, no tokenizer in it, or no single token for the separator.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such tokenizer folder; download one first, or train one (path='')")
    config_file = folder / "tokenizer_config.json"
    config = read_json(config_file, "the tokenizer's config") if config_file.exists() else {}
    plain = (folder / "tokenizer.json").exists() and config.get("tokenizer_class") in _GENERIC
    backend, names = _open(folder, config) if plain else _open_with_transformers(folder)
    if speller is None and (folder / TAGS).is_dir():
        speller = load(folder / TAGS, separator)
    try:
        return Tokenizer(backend, **names, separator=separator, speller=speller)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error


def _open(folder: pathlib.Path, config: dict[str, object]) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Without importing transformers, which takes seconds."""

    def name(key: str) -> str:
        value = config.get(key)
        return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")

    try:
        backend = tokenizers.Tokenizer.from_file(os.fspath(folder / "tokenizer.json"))
    except Exception as error:  # the Rust side raises plain Exception
        raise UserError(f"{folder / 'tokenizer.json'}: not a tokenizer ({error}); copy it anew") from error
    eos = name("eos_token") or name("sep_token")
    return backend, {"pad": name("pad_token"), "eos": eos, "unknown": name("unk_token")}


def _open_with_transformers(folder: pathlib.Path) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Converts what is not a plain tokenizer.json: the classes of transformers know how."""
    from transformers import AutoTokenizer, ByT5Tokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(os.fspath(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{folder}: no tokenizer in it, expected tokenizer.json or spiece.model (transformers: {reason})"
        ) from error
    eos = tokenizer.eos_token or tokenizer.sep_token  # BERT's
    names = {"pad": tokenizer.pad_token, "eos": eos, "unknown": tokenizer.unk_token}
    names = {role: name or "" for role, name in names.items()}
    if isinstance(tokenizer, ByT5Tokenizer):
        specials = {id_: token.content for id_, token in sorted(tokenizer.added_tokens_decoder.items())}
        return byte_tokens.build(specials, names["eos"], tokenizer.offset), names
    if not tokenizer.is_fast:
        raise UserError(f"{folder}: a slow tokenizer, expected one with tokenizer.json; convert it first")
    return tokenizer.backend_tokenizer, names


def train(
    texts: Iterable[str],
    tags: Iterable[str],
    separator: str,
    config: TokenizerConfig,
    speller: Tokenizer | None = None,
) -> Tokenizer:
    """Learns a unigram tokenizer with byte fallback (SentencePiece, Kudo 2018) from texts and distinct tags.

    The same input gives the same tokenizer. Ids: <pad> 0, </s> 1, <unk> 2, the separator 3, sentinels, 256
    bytes, then pieces, likelier ones first. Nothing is ever unknown, and every Unicode text comes back from
    its ids unchanged: spaces stay spaces, where the usual mark for them would collide with that mark in a
    text.

    Raises:
      UserError: nothing to learn from, or a vocabulary too small for the characters.
    """
    few_tags = _sample(dict.fromkeys(tags), config.max_sentences)
    smaller = dataclasses.replace(config, vocab_size=config.vocab_size - config.sentinels)
    learnt = _learn(_sample(texts, config.max_sentences) + few_tags * _TAG_WEIGHT, smaller)
    backend = _unigram(learnt, separator, config.sentinels)
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    return Tokenizer(backend, pad=_PAD, eos=_EOS, unknown=_UNK, separator=separator, speller=speller)


def train_speller(tags: Sequence[str], separator: str, config: TokenizerConfig) -> Tokenizer:
    """A tokenizer for tags alone, of `config.tag_vocab_size` ids: whole tags, and pieces for the others.

    Args:
      tags: distinct, frequent ones first, as which they become ids of their own.
    """
    whole = [escape(tag, separator) for tag in tags[: config.tag_vocab_size // 2]]
    size = config.tag_vocab_size - len(whole)
    learnt = _learn(_sample(tags, config.max_sentences), dataclasses.replace(config, vocab_size=size))
    pieces = {" " + tag: 0.0 for tag in whole}  # likelier than anything that could be put together
    backend = _unigram([*(item for item in learnt if item[0] not in pieces), *pieces.items()], separator)
    return Tokenizer(backend, pad=_PAD, eos=_EOS, unknown=_UNK, separator=separator)


def _unigram(learnt: Sequence[tuple[str, float]], separator: str, sentinels: int = 0) -> tokenizers.Tokenizer:
    free = map(_SENTINEL.format, range(sentinels))
    specials = list(dict.fromkeys([_PAD, _EOS, _UNK, separator, *free]))
    vocabulary = [(piece, _NEVER) for piece in specials] + [
        item for item in learnt if item[0] not in specials
    ]
    unigram = models.Unigram(vocabulary, unk_id=specials.index(_UNK), byte_fallback=True)
    backend = tokenizers.Tokenizer(unigram)
    backend.normalizer = normalizers.Prepend(" ")  # a word is spelt alike at the start and elsewhere
    backend.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1, right=0)]
    )
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {_EOS}", special_tokens=[(_EOS, specials.index(_EOS))]
    )
    backend.add_special_tokens([tokenizers.AddedToken(piece, normalized=False) for piece in specials])
    return backend


def _learn(texts: Sequence[str], config: TokenizerConfig) -> list[tuple[str, float]]:
    """The pieces after the specials, with their scores, as SentencePiece learns them."""
    sentences = [text.replace(_SPACE, " ") for text in texts if text.strip()]
    if not sentences:
        raise UserError("tokenizer: no text to train on; check the input's columns, or set tokenizer.path")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="unigram",
            vocab_size=config.vocab_size - 1,  # the separator joins later
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=config.character_coverage,
            required_chars=string.digits + string.ascii_letters + string.punctuation,
            normalization_rule_name="identity",  # cleaning has done NFKC, and tags must come back unchanged
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,  # "facet::" may be one piece
            max_sentencepiece_length=_LONGEST_PIECE,
            max_sentence_length=max(_SHORTEST_LIMIT, *(len(sentence.encode()) for sentence in sentences)),
            num_threads=1,  # the sums of several threads round differently: another machine, other pieces
            minloglevel=2,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
        )
    except RuntimeError as error:
        raise UserError(
            f"tokenizer: SentencePiece cannot make {config.vocab_size} pieces of {len(sentences)} texts"
            f" ({' '.join(str(error).split())}); raise tokenizer.vocab_size or lower character_coverage"
        ) from error
    learnt = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(3, learnt.get_piece_size())
    pieces = [learnt.id_to_piece(i).replace(_SPACE, " ") for i in ids]
    return [
        (piece, _NEVER if learnt.is_byte(i) else learnt.get_score(i))
        for i, piece in zip(ids, pieces, strict=True)
    ]


def _sample(texts: Iterable[str], limit: int) -> list[str]:
    """At most `limit` of the texts, each as likely as any other, the same ones every time; streamed."""
    chance, kept = random.Random(0), []
    for seen, text in enumerate(texts):
        if seen < limit:
            kept.append(text)
        elif (place := chance.randrange(seen + 1)) < limit:
            kept[place] = text
    return kept
