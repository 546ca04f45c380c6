"""taggen import and export as a user meets them: whole, and checked by those who use the weights."""

import json
import shutil

import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy

from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.interop import ct2, hf
from taggen_jax.interop.names import flatten
from taggen_jax.main import main
from tools import zoo

torch = zoo.torch


@pytest.fixture(scope="module")
def tokenizer():
    texts = [f"red lamp number {number} of steel" for number in range(100)]
    return tokenizers.train(texts, ["red", "lamp"], "<sep>", tokenizers.TokenizerConfig(vocab_size=500))


def make_folder(folder, tokenizer, projection, dtype):
    maker = zoo.t5(projection, tied=projection == "relu", vocab_size=tokenizer.size + 3)
    model = maker(0)
    model.generation_config.update(num_beams=2, max_length=6, no_repeat_ngram_size=2)
    model.to(dtype).save_pretrained(folder, max_shard_size="30KB")
    tokenizer.save(folder)
    assert len(list(folder.glob("*.safetensors"))) > 1


@pytest.fixture(scope="module")
def folders(tokenizer, tmp_path_factory):
    """A Hugging Face folder of bfloat16, in shards, and the workdir made of it."""
    zoo.quiet()
    root = tmp_path_factory.mktemp("convert")
    make_folder(root / "hf", tokenizer, "gated-gelu", torch.bfloat16)
    assert taggen("import", f"--from={root / 'hf'}", f"--workdir={root / 'w'}") == 0
    return root / "hf", root / "w"


def taggen(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


def tensors(folder):
    files = folder.glob("*.safetensors")
    return {name: x for file in files for name, x in safetensors.numpy.load_file(file).items()}


def test_an_imported_workdir_generates_at_once(folders, tmp_path, capsys):
    (tmp_path / "in.jsonl").write_text('{"id": "a", "title": "red lamp"}\n')
    arguments = [
        f"--workdir={folders[1]}",
        f"--input={tmp_path / 'in.jsonl'}",
        f"--output={tmp_path / 'out'}",
    ]
    settings = ["--config.generate.select.threshold=0", "--config.compute.dtype=bfloat16"]
    assert taggen("generate", *arguments, *settings) == 0
    (line,) = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["tags"]
    config = json.loads((folders[1] / "config.json").read_text())
    assert config["generate"]["decode"]["beams"] == 2 and config["generate"]["decode"]["max_length"] == 5


def test_exported_again_it_is_the_same_to_the_byte(folders, tmp_path, capsys):
    assert taggen("export", f"--workdir={folders[1]}", f"--output={tmp_path / 'back'}") == 0
    assert "the logits of transformers differ from ours by at most" in capsys.readouterr().out
    assert_same(folders[0], tmp_path / "back")
    theirs = json.loads((tmp_path / "back" / "generation_config.json").read_text())
    assert theirs["num_beams"] == 2 and theirs["max_new_tokens"] == 5
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "back" / name).read_bytes() == (folders[0] / name).read_bytes()


def test_float32_and_a_tied_head_come_back_too(tokenizer, tmp_path, capsys):
    make_folder(tmp_path / "hf", tokenizer, "relu", torch.float32)
    assert taggen("import", f"--from={tmp_path / 'hf'}", f"--workdir={tmp_path / 'w'}") == 0
    assert taggen("export", f"--workdir={tmp_path / 'w'}", f"--output={tmp_path / 'back'}") == 0
    assert_same(tmp_path / "hf", tmp_path / "back")


def assert_same(folder, other):
    before, after = tensors(folder), tensors(other)
    assert before.keys() == after.keys()
    for name, x in before.items():
        assert x.dtype == after[name].dtype and x.tobytes() == after[name].tobytes()


def test_ctranslate2_scores_as_we_do(folders, tmp_path, capsys):
    pytest.importorskip("ctranslate2")
    assert (
        taggen("export", f"--workdir={folders[1]}", f"--output={tmp_path / 'c'}", "--format=ctranslate2") == 0
    )
    assert "the log-probabilities of CTranslate2 differ from ours by at most" in capsys.readouterr().out
    assert (tmp_path / "c" / "model.bin").exists() and [path.name for path in tmp_path.iterdir()] == ["c"]


def test_orbax_alone_reads_parameters_and_layout(folders, tmp_path, capsys):
    output = tmp_path / "o"
    arguments = [f"--workdir={folders[1]}", f"--output={output}", "--format=orbax", "--dtype=bfloat16"]
    assert taggen("export", *arguments) == 0
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as plain:
        params = flatten(plain.restore(output / "params"))
        layout = plain.metadata(output / "params").custom_metadata
    config, expected = hf.load(folders[0])
    assert layout["config"]["family"] == "t5" and layout["config"]["d_model"] == config.d_model
    for path, x in flatten(expected).items():
        assert layout["params"][path] == {"shape": list(x.shape), "dtype": "bfloat16"}
        np.testing.assert_array_equal(params[path], x.astype(hf.BFLOAT16))


def wrong_shape(folder):
    file = min(folder.glob("*.safetensors"))
    content = safetensors.numpy.load_file(file)
    name = min(content)
    safetensors.numpy.save_file(content | {name: content[name][:-1]}, file)
    return f"tensor '{name}' is"


def truncated(folder):
    file = min(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    return f"{file.name}: not a whole safetensors file"


def pickled(folder):
    for file in [*folder.glob("*.safetensors*")]:
        file.unlink()
    torch.save({"shared.weight": torch.zeros(3, 3)}, folder / "pytorch_model.bin")
    return "the weights are pickled (pytorch_model.bin)"


def without_tokenizer(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    return "no tokenizer in it"


def other_separator(folder):
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<sep>", "<other>"))
    config = (folder / "tokenizer_config.json").read_text()
    (folder / "tokenizer_config.json").write_text(config.replace("<sep>", "<other>"))
    return "set tags.separator to e.g. '<other>'"


@pytest.mark.parametrize("break_it", [wrong_shape, truncated, pickled, without_tokenizer, other_separator])
def test_a_broken_folder_is_one_line_status_2_and_no_workdir(folders, tmp_path, capsys, break_it):
    shutil.copytree(folders[0], tmp_path / "broken")
    message = break_it(tmp_path / "broken")
    assert taggen("import", f"--from={tmp_path / 'broken'}", f"--workdir={tmp_path / 'w'}") == 2
    err = capsys.readouterr().err
    assert err.startswith("taggen: error: ") and message in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_another_model_than_the_folders_is_refused(folders, tmp_path, capsys):
    arguments = [f"--from={folders[0]}", f"--workdir={tmp_path / 'w'}", "--config.model.d_model=17"]
    assert taggen("import", *arguments) == 2
    assert "holds another model (d_model: 16 -> 17)" in capsys.readouterr().err


def test_an_export_that_answers_otherwise_is_removed(folders, tmp_path, capsys, monkeypatch):
    """A fault in the way out: one tensor is written upside down."""
    write = hf.weights.write

    def faulty(folder, specs, values, shard_bytes):
        write(
            folder, specs, lambda name: values(name)[::-1].copy() if "shared" in name else values(name), 2**31
        )

    monkeypatch.setattr(hf.weights, "write", faulty)
    assert taggen("export", f"--workdir={folders[1]}", f"--output={tmp_path / 'out'}") == 2
    assert "the logits of transformers differ from ours by" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_the_library_nothing_is_exported_unless_asked(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("taggen_jax.interop.check.importlib.util.find_spec", lambda name: None)
    arguments = ["export", f"--workdir={folders[1]}", f"--output={tmp_path / 'out'}"]
    assert taggen(*arguments) == 2
    assert "pip install 'taggen-jax[export]'" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert taggen(*arguments, "--check=false") == 0
    assert "UNCHECKED" in capsys.readouterr().out and (tmp_path / "out" / "model.safetensors").exists()


def test_a_family_that_ctranslate2_does_not_know_is_refused(tmp_path):
    pytest.importorskip("ctranslate2")
    (tmp_path / "config.json").write_text('{"model_type": "blenderbot"}')
    with pytest.raises(hf.UserError, match="CTranslate2 does not convert this model"):
        ct2.convert(tmp_path, tmp_path / "out")
