"""Runs what `taggen export --format=stablehlo` wrote. Needs only jax, numpy and flatbuffers.

    echo '[[318, 22, 1], [57, 1]]' | python tools/run_stablehlo.py FOLDER

Reads one JSON list of products, each a list of token ids; prints a JSON line of outputs for each.
"""

import json
import pathlib
import sys

import jax
import numpy as np
from jax import export

folder = pathlib.Path(sys.argv[1])
about = json.loads((folder / "about.json").read_text())
program = export.deserialize(bytearray((folder / "program.bin").read_bytes()))
with np.load(folder / "arguments.npz", allow_pickle=False) as file:
    # numpy's files forget what bfloat16 is; the program knows
    arguments = [x.view(aval.dtype) for x, aval in zip(file.values(), program.in_avals, strict=False)]

sources = json.load(sys.stdin)
source_BS = np.full((len(sources), about["source_length"]), about["pad"], np.int32)
for row, ids in zip(source_BS, sources, strict=True):
    row[: len(ids)] = ids
outputs = jax.device_get(jax.jit(program.call)(arguments, source_BS))
for number in range(len(sources)):
    print(json.dumps({name: values[number].tolist() for name, values in outputs.items()}))
