"""The command line as a user meets it."""

import json

import pytest

from taggen_jax.main import main
from taggen_jax.verbs import VERBS


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return exit_.value.code, printed.out, printed.err


BAD = {
    "broken JSON": b'{"id": "x", "title": ',
    "not an object": b"[1, 2]",
    "wrong type of tags": b'{"id": "t%d", "title": "ok", "tags": 3}',
    "wrong type of title": b'{"id": "w%d", "title": ["ok"]}',
    "no title": b'{"id": "n%d", "tags": ["a"]}',
    "no id": b'{"title": "lamp"}',
    "invalid UTF-8": b'{"id": "u%d", "title": "caf\xe9"}',
    "duplicate id": b'{"id": "good-0", "title": "lamp again"}',
}


@pytest.fixture
def dirty(tmp_path):
    """1,000 good rows with 40 bad ones strewn in; and the line numbers of the bad ones."""
    lines, bad_lines = [], []
    for i in range(1000):
        lines.append(json.dumps({"id": f"good-{i}", "title": f"lamp {i}", "tags": ["light"]}).encode())
        if i % 25 == 24:
            bad = list(BAD.values())[len(bad_lines) % len(BAD)]
            lines.append(bad.replace(b"%d", str(i).encode()))
            bad_lines.append(len(lines))
    path = tmp_path / "dirty.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path, bad_lines


def test_bad_rows_are_quarantined_with_their_lines_and_never_stop_the_run(
    dirty, config_file, tmp_path, capsys
):
    path, bad_lines = dirty
    data = tmp_path / "data"
    status, out, err = run(
        capsys, "prepare", f"--config={config_file}", f"--input={path}", f"--output={data}"
    )
    assert status == 0, err
    assert "read: 1,000 products" in out and "quarantined: 40 rows" in out
    quarantined = [json.loads(line) for line in (data / "quarantine.jsonl").read_text().splitlines()]
    assert [row["line"] for row in quarantined] == bad_lines and len(bad_lines) == 40
    assert {row["file"] for row in quarantined} == {str(path)} and all(row["reason"] for row in quarantined)


def test_strict_stops_at_the_first_bad_row(dirty, config_file, tmp_path, capsys):
    path, bad_lines = dirty
    status, _, err = run(
        capsys,
        "prepare",
        f"--config={config_file}",
        f"--input={path}",
        f"--output={tmp_path / 'data'}",
        "--strict",
    )
    assert status == 2
    assert err.startswith(f"taggen: error: {path}:{bad_lines[0]}: broken_json") and err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_settings_are_overridden_and_kept(dirty, config_file, tmp_path, capsys):
    settings = ["--config.tags.lower_case", "--config.split.test=0.25", "--config.text=('title', 'id')"]
    status, _, err = run(
        capsys,
        "prepare",
        f"--config={config_file}",
        *settings,
        f"--input={dirty[0]}",
        f"--output={tmp_path / 'data'}",
    )
    assert status == 0, err
    kept = json.loads((tmp_path / "data" / "config.json").read_text())
    assert (
        kept["tags"]["lower_case"] is True
        and kept["split"]["test"] == 0.25
        and kept["text"] == ["title", "id"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tagg"], f"no verb 'tagg'; there are {', '.join(VERBS)}"),
        (["train", "--data=d", "--workdir=w"], "--config is missing"),
        (["train", "--config=nowhere.py", "--data=d", "--workdir=w"], "nowhere.py: no such config file"),
        (["generate", "--input=x", "--output=y"], "config.json: the experiment's config is missing"),
        (
            ["evaluate", "--workdir=nowhere", "--data=d"],
            "nowhere/config.json: the experiment's config is missing",
        ),
        (["evaluate", "--workdir=nowhere", "--dat=d"], "nowhere/config.json"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2 and not out
    assert err.startswith("taggen: error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output=o"], "give either --input, or --train"),
        (["--output=o", "--input=no*.jsonl"], "input 'no*.jsonl' matches no file"),
        (["--input=x.jsonl"], "--output is missing"),
        (["--output=o", "--input=x", "--config.train.stepz=3"], 'Did you mean "steps" instead of "stepz"?'),
        (["--output=o", "--input=x", "--config.train.steps=0"], "config.train: steps=0"),
        (["--output=o", "--input=x", "--inputs=y"], "Unknown command line flag 'inputs'"),
        (["--output=o", "--input=x", "y"], "unexpected argument 'y'"),
    ],
)
def test_a_mistake_in_the_flags_is_one_line_and_status_2(
    flags, message, config_file, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "prepare", f"--config={config_file}", *flags)
    assert status == 2 and message in err and err.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_flag_of_a_verb(verb, capsys):
    status, out, _ = run(capsys, verb, "--help")
    assert status == 0
    for flag in (*VERBS[verb].needs, *VERBS[verb].takes):
        assert f"--{flag} " in out


def test_help_lists_every_verb(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0 and all(verb in out for verb in VERBS)
