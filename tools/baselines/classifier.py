"""A strong baseline, the one that a user would try first: MiniLM with one linear layer, all weights tuned.

    PYTHONPATH=. python tools/baselines/classifier.py --data=FOLDER --output=OUT [--epochs=3]

FOLDER as for `linear`. The mean of MiniLM's outputs over a product's ids, times a row for every tag, learns
by binary cross-entropy: AdamW, 1e-4 on the encoder and 2e-3 on the rows, 100 steps of warm-up, then linear
decay. Learning reads 64 ids of a product, scoring 128. OUT/state.npz is where it stands; run again after an
interruption, it goes on there.
"""

import functools
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import minilm
import numpy as np
import optax
import shared
from minilm import Ids

from configs.debtags_minilm import minilm as package
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.errors import UserError
from taggen_jax.interop import hf
from taggen_jax.models import family
from taggen_jax.models.family import Bundle
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.training.loss import tag_cross_entropy
from taggen_jax.training.optimizer import OptimizerConfig, schedule

LENGTH, READ = 64, 128  # ids that learning and scoring read of a product
RATES = {"encoder": 1e-4, "tag_head": 2e-3}
SEED, SAVE_EVERY = 0, 100
POOL = 50  # batches that are drawn together, so that each can hold products of like length


def batches_of(ids: Ids, epoch: int) -> list[list[int]]:
    """The products' numbers, batch by batch: every product once, drawn from (SEED, epoch)."""
    rng = np.random.default_rng((SEED, epoch))
    order, size = rng.permutation(len(ids)).tolist(), POOL * minilm.BATCH
    pools = [minilm.by_length(ids, order[i : i + size]) for i in range(0, len(order), size)]
    batches = [batch for pool in pools for batch in pool]
    return [batches[i] for i in rng.permutation(len(batches))]


def logits(bundle: Bundle, params: Any, source_BS: jax.Array) -> jax.Array:
    """Log-odds [B, N] of every tag."""
    model = bundle.bind(params)
    segments_BS = (source_BS != bundle.config.pad).astype(jnp.int32)
    return model.tag_head(model(source_BS, segments_BS), segments_BS)


def optimizer(steps: int) -> optax.GradientTransformation:
    def adamw(peak: float) -> optax.GradientTransformation:
        config = OptimizerConfig(learning_rate=peak, schedule="linear")
        return optax.adamw(schedule(config, steps), weight_decay=config.weight_decay)

    def label(params: Mapping[str, Any]) -> dict[str, str]:
        return {name: name if name in RATES else "encoder" for name in params}

    by_part = optax.partition({name: adamw(rate) for name, rate in RATES.items()}, label)
    return optax.chain(optax.clip_by_global_norm(1.0), by_part)


def save(path: pathlib.Path, state: Any, step: int) -> None:
    """The leaves of the state in the order of its tree, and the number of steps behind it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez(file, step=step, **{f"leaf{i}": x for i, x in enumerate(jax.tree.leaves(state))})
    os.replace(file.name, path)


def restore(path: pathlib.Path, state: Any) -> tuple[Any, int]:
    """What `save` wrote, or `state` as it is and 0."""
    if not path.exists():
        return state, 0
    with np.load(path) as saved:
        leaves = [jnp.asarray(saved[f"leaf{i}"]) for i in range(len(saved.files) - 1)]
        return jax.tree.unflatten(jax.tree.structure(state), leaves), int(saved["step"])


def train(
    bundle: Bundle,
    params: Any,
    tokenizer: Tokenizer,
    ids: Ids,
    tags_NK: np.ndarray,
    epochs: int,
    path: pathlib.Path,
) -> Any:
    """The parameters after so many epochs; goes on from `path`, where there is such a file.

    Args:
      tags_NK: int32, the tags of each product as columns of the scores, filled up with -1.
    """
    plan = [batch for epoch in range(epochs) for batch in batches_of(ids, epoch)]
    tx = optimizer(len(plan))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, source_BS: jax.Array, tags_BK: jax.Array, weight_B: jax.Array) -> Any:
        params, opt_state = state

        def objective(params: Any) -> jax.Array:
            found_BN = logits(bundle, params, source_BS)
            return tag_cross_entropy(found_BN, tags_BK, weight_B) / weight_B.sum()

        loss, gradients = jax.value_and_grad(objective)(params)
        updates, opt_state = tx.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    state, first = restore(path, (params, tx.init(params)))
    start = time.time()
    for step in range(first, len(plan)):
        rows, filled = plan[step], [*plan[step], *[0] * minilm.BATCH][: minilm.BATCH]
        weight_B = (np.arange(minilm.BATCH) < len(rows)).astype(np.float32)
        state, loss = update(state, minilm.padded(ids, rows, tokenizer), tags_NK[filled], weight_B)
        if (step + 1) % SAVE_EVERY == 0:
            save(path, state, step + 1)
            rate = (step + 1 - first) * minilm.BATCH / (time.time() - start)
            print(f"step {step + 1:,}/{len(plan):,}, loss {loss:.2f}, {rate:.1f} products/s", file=sys.stderr)
    return state[0]


def scored(bundle: Bundle, params: Any, tokenizer: Tokenizer, ids: Ids) -> np.ndarray:
    """The probability of every tag for every product: float64 [products, N]."""
    read = jax.jit(lambda params, source_BS: jax.nn.sigmoid(logits(bundle, params, source_BS)))
    scores = np.zeros((len(ids), bundle.shapes["tag_head"]["bias"].shape[0]))
    for rows in minilm.by_length(ids, range(len(ids))):
        scores[rows] = np.asarray(read(params, minilm.padded(ids, rows, tokenizer)))[: len(rows)]
    return scores


def run(splits: shared.Splits, epochs: int, output: pathlib.Path) -> list[np.ndarray]:
    """The scores of validation and test."""
    config, encoder = hf.load(package())
    tokenizer, tags = tokenizers.load(package(), "[MASK]"), list(shared.tag_counts(splits))
    bundle = family.build(config, ComputeConfig(), tags=len(tags))
    params = {**bundle.init(jax.random.key(SEED)), **jax.tree.map(jnp.asarray, encoder)}
    ids = tokenizer.encode(shared.texts(splits["train"]), LENGTH)
    tags_NK = shared.columns(splits["train"], tags)
    output.mkdir(parents=True, exist_ok=True)
    params = train(bundle, params, tokenizer, ids, tags_NK, epochs, output / "state.npz")
    read = (tokenizer.encode(shared.texts(splits[split]), READ) for split in ("validation", "test"))
    return [scored(bundle, params, tokenizer, ids) for ids in read]


def main() -> None:
    """Reads the flags, trains, tunes, scores, prints."""
    parser = shared.flags(__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="how often every training product is read")
    args = parser.parse_args()
    if not args.output:
        parser.error("--output is needed: what was learnt so far is kept there")
    start = time.time()
    try:
        splits = shared.load(args.data, args.limit)
        scores = run(splits, args.epochs, args.output)
    except UserError as error:
        sys.exit(f"classifier: {error}")
    shared.finish("classifier", splits, *scores, args.output, seconds=round(time.time() - start, 1))


if __name__ == "__main__":
    main()
