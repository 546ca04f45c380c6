"""Folders of Hugging Face to ours and back: identical bytes, read by transformers, refused when broken."""

import json
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy
import torch
from transformers import T5ForConditionalGeneration

from taggen_jax.errors import UserError
from taggen_jax.interop import hf, weights
from taggen_jax.interop.names import flatten
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh, param_shardings
from tools import zoo
from tools.parity import tensors


def rewrite(folder: pathlib.Path, **changed: np.ndarray | None) -> None:
    """Changes tensors of a folder; None removes one. Dots in names are written as double underscores."""
    kept = tensors(folder) | {name.replace("__", "."): x for name, x in changed.items()}
    kept = {name: x for name, x in kept.items() if x is not None}
    safetensors.numpy.save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: pathlib.Path, **changed: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def logits(model: T5ForConditionalGeneration) -> np.ndarray:
    source, target = torch.arange(2, 12)[None], torch.arange(5, 9)[None]
    with torch.no_grad():
        return model(input_ids=source, labels=target).logits.numpy()


@pytest.mark.parametrize("shard_bytes", [2**31, 5000])
def test_there_and_back_is_the_identity_on_bytes(hf_folder, tmp_path, shard_bytes):
    config, params = hf.load(hf_folder)
    hf.save(tmp_path / "back", config, params, shard_bytes=shard_bytes)
    before, after = tensors(hf_folder), tensors(tmp_path / "back")
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert (len(list((tmp_path / "back").glob("*.safetensors"))) > 1) == (shard_bytes == 5000)
    again, params_again = hf.load(tmp_path / "back")
    assert again == config
    for path, leaf in flatten(params_again).items():
        np.testing.assert_array_equal(leaf, flatten(params)[path])


@pytest.mark.parametrize("shard_bytes", [2**31, 5000])
def test_transformers_loads_what_we_write(hf_folder, tmp_path, shard_bytes):
    hf.save(tmp_path / "ours", *hf.load(hf_folder), shard_bytes=shard_bytes)
    theirs = T5ForConditionalGeneration.from_pretrained(hf_folder)
    ours = T5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    np.testing.assert_array_equal(logits(ours), logits(theirs))
    differing = {k for k, v in theirs.config.to_dict().items() if ours.config.to_dict()[k] != v}
    assert differing <= {"_name_or_path"}


def test_folders_in_shards_are_read(variant, hf_folder, tmp_path):
    zoo.make(variant, 0).save_pretrained(tmp_path / "sharded", max_shard_size="8KB")
    assert (tmp_path / "sharded" / weights.INDEX).exists()
    (config, params), (sharded_config, sharded) = hf.load(hf_folder), hf.load(tmp_path / "sharded")
    assert config == sharded_config
    for path, leaf in flatten(params).items():
        np.testing.assert_array_equal(leaf, flatten(sharded)[path])


@pytest.mark.parametrize("variant", ["t5-v1.1"])
def test_a_config_of_transformers_4_says_untied_in_its_own_way(hf_folder):
    """It has no scale_decoder_outputs; tie_word_embeddings is what it means."""
    path = hf_folder / "config.json"
    values = json.loads(path.read_text())
    assert values["tie_word_embeddings"] and not values.pop("scale_decoder_outputs")
    path.write_text(json.dumps(values | {"tie_word_embeddings": False}))
    assert not hf.load(hf_folder)[0].tied_head


@pytest.mark.parametrize("variant", ["t5-v1.1"])
def test_an_unscaled_head_that_is_stored_with_the_embedding_is_found_there(hf_folder):
    """What transformers 5 writes for a new v1.1 model, whose head it ties without scaling."""
    rewrite(hf_folder, lm_head__weight=None)
    config, params = hf.load(hf_folder)
    assert not config.tied_head
    np.testing.assert_array_equal(params["head"], params["embedding"].T)


@pytest.mark.parametrize("variant", ["t5-v1.0"])
def test_old_duplicates_and_leftovers_are_passed_over(hf_folder):
    shared = tensors(hf_folder)["shared.weight"]
    unused = np.zeros((8, 3), np.float32)
    rewrite(
        hf_folder,
        lm_head__weight=shared,
        encoder__embed_tokens__weight=shared,
        decoder__block__0__layer__1__EncDecAttention__relative_attention_bias__weight=unused,
    )
    np.testing.assert_array_equal(hf.load(hf_folder)[1]["embedding"], shared)


@pytest.mark.parametrize("variant", ["t5-v1.0"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_without_loss(variant, tmp_path, dtype):
    model = zoo.make(variant, 0).to(dtype)
    model.save_pretrained(tmp_path / "half")
    embedding = hf.load(tmp_path / "half")[1]["embedding"]
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, model.shared.weight.detach().float().numpy())


@pytest.mark.parametrize("variant", ["t5-v1.1"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_type_of_a_folder_is_kept_there_and_back(variant, tmp_path, dtype):
    """As bits: safetensors' numpy reader and writer know bfloat16."""
    zoo.make(variant, 0).to(dtype).save_pretrained(tmp_path / "hf")
    hf.save(tmp_path / "back", *hf.open_folder(tmp_path / "hf"), shard_bytes=3000)
    before, after = tensors(tmp_path / "hf"), tensors(tmp_path / "back")
    assert before.keys() == after.keys() and len(list((tmp_path / "back").glob("*.safetensors"))) > 1
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype and tensor.tobytes() == after[name].tobytes()
    assert json.loads((tmp_path / "back" / "config.json").read_text())["dtype"] == str(dtype).split(".")[1]


@pytest.mark.parametrize("variant", ["t5-v1.1"])
def test_every_device_gets_its_part(hf_folder):
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    config, params = hf.load(hf_folder)
    bundle = build(config, ComputeConfig())
    shardings = param_shardings(bundle.shapes, bundle.axes, mesh)
    placed = flatten(hf.load(hf_folder, shardings)[1])
    cut = [path for path, leaf in placed.items() if not leaf.sharding.is_fully_replicated]
    assert cut and placed.keys() == flatten(params).keys()
    for path, leaf in placed.items():
        assert leaf.sharding == flatten(shardings)[path]
        np.testing.assert_array_equal(leaf, flatten(params)[path])


def test_a_parameter_is_read_layer_by_layer(hf_folder, monkeypatch):
    _, leaves = hf.open_folder(hf_folder)
    _, params = hf.load(hf_folder)
    reads, read = [], weights.read
    monkeypatch.setattr(weights, "read", lambda files, name: reads.append(name) or read(files, name))
    leaf = leaves["encoder"]["blocks"]["attention"]["query"]
    np.testing.assert_array_equal(leaf[1], params["encoder"]["blocks"]["attention"]["query"][1])
    assert reads == ["encoder.block.1.layer.0.SelfAttention.q.weight"]


BROKEN = {
    "missing tensor": (
        lambda f: rewrite(f, encoder__final_layer_norm__weight=None),
        "'encoder.final_layer_norm",
    ),
    "missing embedding": (lambda f: rewrite(f, shared__weight=None), "'shared.weight' missing"),
    "extra tensor": (lambda f: rewrite(f, surplus=np.zeros(3, np.float32)), "'surplus' in the weights"),
    "wrong shape": (
        lambda f: rewrite(f, shared__weight=np.zeros((52, 16), np.float32)),
        r"\(52, 16\).*\(53, 16\)",
    ),
    "wrong type": (
        lambda f: rewrite(f, shared__weight=np.zeros((53, 16), np.int8)),
        "I8, expected one of F64",
    ),
    "head not tied": (
        lambda f: rewrite(f, lm_head__weight=np.zeros((53, 16), np.float32)),
        "'lm_head.weight' in",
    ),
    "too many layers": (lambda f: edit_config(f, num_layers=4), "'encoder.block.3.*and 5 more missing"),
    "too few layers": (lambda f: edit_config(f, num_layers=2), "'encoder.block.2.*and 5 more in the weights"),
    "wrong family": (lambda f: edit_config(f, model_type="gpt2"), "model_type is 'gpt2', expected one of t5"),
    "unknown activation": (
        lambda f: edit_config(f, feed_forward_proj="gated-tanh"),
        "feed_forward_proj is 'gated-",
    ),
    "no width": (lambda f: edit_config(f, d_model=None), "field 'd_model' is missing"),
    "text as width": (lambda f: edit_config(f, d_model="16"), "d_model: got str '16', expected int"),
    "config not a mapping": (lambda f: (f / "config.json").write_text("[]"), "model_type is None"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "cut short": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x08\0\0"),
        "not a whole safetensors file",
    ),
    "pickled": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"pickled \(pytorch_model.bin\).*save_pretrained",
    ),
}


@pytest.mark.parametrize("variant", ["t5-v1.0"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(hf_folder, kind):
    hf.load(hf_folder)
    break_it, message = BROKEN[kind]
    break_it(hf_folder)
    with pytest.raises(UserError, match=message) as caught:
        hf.load(hf_folder)
    assert str(hf_folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("variant", ["t5-v1.0"])
def test_a_missing_shard_is_named(variant, tmp_path):
    zoo.make(variant, 0).save_pretrained(tmp_path, max_shard_size="8KB")
    shard = min(tmp_path.glob("*.safetensors"))
    shard.unlink()
    with pytest.raises(UserError, match=shard.name):
        hf.load(tmp_path)
    (tmp_path / weights.INDEX).write_text("{}")
    with pytest.raises(UserError, match="weight_map"):
        hf.load(tmp_path)


SMALL = T5Config(vocab_size=8, d_model=4, d_mlp=4, n_heads=1, head_dim=4, encoder_layers=1, decoder_layers=1)


def zeros(config: T5Config) -> dict:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), build(config, ComputeConfig()).shapes)


def test_a_folder_with_content_is_not_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty"):
        hf.save(tmp_path / "mine", SMALL, zeros(SMALL))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    """The disk fills up at the second file of weights."""
    write_file, written = weights._write_file, []

    def full_disk(path, specs, values):
        written.append(path)
        if len(written) == 2:
            raise OSError("No space left on device")
        write_file(path, specs, values)

    monkeypatch.setattr(weights, "_write_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        hf.save(tmp_path / "new", SMALL, zeros(SMALL), shard_bytes=100)
    assert list(tmp_path.iterdir()) == []


def test_parameters_of_another_model_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="shapes"):
        hf.save(tmp_path / "new", T5Config(), zeros(SMALL))
    assert list(tmp_path.iterdir()) == []
