"""ByT5's tokenizer (Xue et al., 2022): an id is a byte. Hugging Face has it in Python only; here in Rust."""

from collections.abc import Mapping

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

# The bytes that a tokenizer of Rust shows as themselves; the others it shows as the characters from 256 on.
_SHOWN = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))


def build(specials: Mapping[int, str], eos: str, first_byte: int) -> tokenizers.Tokenizer:
    """A tokenizer of the kind that tokenizer.json describes, with the same ids as ByT5's own.

    Args:
      specials: every token that is no byte, by id: padding, end and unknown below the bytes, sentinels above.
      eos: the special that closes a text.
      first_byte: the id of byte 0.
    """
    vocabulary = {token: id_ for id_, token in specials.items()}
    hidden = [byte for byte in range(256) if byte not in _SHOWN]
    for byte in range(256):
        shown = chr(byte) if byte in _SHOWN else chr(256 + hidden.index(byte))
        vocabulary[shown] = first_byte + byte
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {eos}", special_tokens=[(eos, vocabulary[eos])]
    )
    backend.add_special_tokens(
        [tokenizers.AddedToken(token, normalized=False) for token in specials.values()]
    )
    return backend
