"""T5 v1.1 XXL (11.1 billion parameters), fine-tuned on a pod of TPUs: 512 tokens in, 128 out.

Commands: taggen plan --config=configs/t5_xxl.py --topology=v5p:4x4x4
          taggen plan --config=configs/t5_xxl.py --topology=v5e:16x16 --batch=512
          taggen prepare --config=configs/t5_xxl.py --input=CATALOG/*.jsonl.gz --output=runs/xxl/data \\
            --config.tokenizer.path=T5_XXL
          taggen train --config=configs/t5_xxl.py --data=runs/xxl/data --workdir=runs/xxl/run \\
            --config.tokenizer.path=T5_XXL --config.train.pretrained=T5_XXL
Expected: the plan's table; nobody has trained it here
Cost:     each plan takes a few minutes of two CPU cores and a few GiB
"""

import ml_collections

from taggen_jax.data.stream import StreamConfig
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.experiment import Experiment, GenerateConfig, config_dict
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.step import TrainConfig


def get_config() -> ml_collections.ConfigDict:
    return config_dict(
        Experiment(
            stream=StreamConfig(source_length=512, target_length=128, batch_size=256),
            model=T5Config(
                d_model=4096,
                d_mlp=10240,
                n_heads=64,
                head_dim=64,
                encoder_layers=24,
                decoder_layers=24,
            ),
            compute=ComputeConfig(dtype="bfloat16", remat="dots"),
            mesh=MeshConfig(preset="fsdp_tp"),
            train=TrainConfig(
                steps=10_000, optimizer=OptimizerConfig(learning_rate=1e-4, schedule="constant")
            ),
            generate=GenerateConfig(batch_size=256, decode=DecodeConfig(beams=4, max_length=128)),
        )
    )
