"""taggen VERB: the command line, and the only reader of flags and ConfigDicts."""

import dataclasses
import importlib
import keyword
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from taggen_jax import __version__, compilations
from taggen_jax.errors import UserError

MISTAKE = 2  # exit status for what the user can mend
INTERRUPTED = 130


@dataclasses.dataclass(frozen=True)
class Verb:
    """A program: `taggen_jax.NAME.run`, called with its flags as arguments of their names (--from: `from_`),
    those in HOSTS excepted: they are for `hosts.join`, before it.

    Attributes:
      summary: one line for the help.
      needs: flags that must be given.
      takes: flags that may be given.
      config: "file" reads --config=FILE.py; "workdir" starts from the workdir's config, "from" from what the
        folder that --from names says; "" has none.
      program: "MODULE.FUNCTION" where it is not NAME.run.
    """

    summary: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    config: str = ""
    program: str = ""


HOSTS = ("coordinator", "processes", "process", "lost_after")  # of the verbs that take --distributed

VERBS = {
    "prepare": Verb(
        "read, clean and check a catalog, train or load a tokenizer, write arrays",
        needs=("output",),
        takes=("input", "train", "validation", "test", "corrections", "strict"),
        config="file",
    ),
    "vocabulary": Verb(
        "make or check a governed tag vocabulary: a published list or taxonomy in, one term a line out",
        needs=("input", "output"),
        takes=("format", "language", "previous"),
    ),
    "train": Verb(
        "fine-tune or train a model; run again, it resumes (SIGTERM saves, then exits with status 143)",
        needs=("data", "workdir"),
        takes=("profile", "distributed", *HOSTS),
        config="file",
    ),
    "evaluate": Verb(
        "tag a prepared split and measure the tags",
        needs=("workdir", "data"),
        takes=("split", "output", "distributed", *HOSTS),
        config="workdir",
    ),
    "generate": Verb(
        "tag products from catalog files, with any number of processes; run again, it goes on "
        "(on SIGTERM it gives up its shard and exits with status 143)",
        needs=("workdir", "input", "output"),
        takes=("strict", "format", "shard_rows", "previous"),
        config="workdir",
    ),
    "pseudo-label": Verb(
        "choose among generated tags those that are good enough to train on, for products without labels",
        needs=("workdir", "input", "tagged", "output"),
        takes=("min_score", "quota"),
        config="workdir",
        program="pseudo.run",
    ),
    "calibrate": Verb(
        "learn on validation what the scores are worth",
        needs=("workdir", "data"),
        config="workdir",
    ),
    "crossval": Verb(
        "train and evaluate on every fold of a catalog in turn, and pool what was held out",
        needs=("input", "output"),
        takes=("folds",),
        config="file",
    ),
    "audit-labels": Verb(
        "list the labels that a model doubts most, for people to judge and `prepare --corrections` to read",
        needs=("of", "output"),
        takes=("most",),
        program="audit.run",
    ),
    "compare": Verb(
        "say how sure it is that one system's tags are better than another's",
        needs=("a", "b"),
        takes=("output",),
    ),
    "plan": Verb(
        "say whether a training fits a pod of TPUs, and how fast it can be, without the pod",
        needs=("topology",),
        takes=("slices", "batch", "search"),
        config="file",
    ),
    "rehearse": Verb(
        "everything a run does, once and small, on simulated devices: mistakes show before the cluster does",
        takes=("data",),
        config="file",
    ),
    "fuse": Verb(
        "make one of several systems' predictions, by weights learnt on validation",
        needs=("fit", "apply", "data", "output"),
    ),
    "report": Verb("write one HTML file about some runs", needs=("workdir", "output")),
    "import": Verb(
        "make a workdir of a Hugging Face folder",
        needs=("from", "workdir"),
        config="from",
        program="convert.import_",
    ),
    "export": Verb(
        "write a workdir's weights for other libraries, or the whole generator as a program; checked",
        needs=("workdir", "output"),
        takes=("format", "dtype", "check"),
        program="convert.export",
    ),
    "demo": Verb(
        "the whole way on an embedded catalog, in about two minutes", takes=("workdir",), config="demo"
    ),
}

FOLDERS = {"output", "data", "workdir", "from", "a", "b", "of", "tagged", "previous"}
SHORT = {  # of the verbs that start from a workdir
    "--min-precision": "--config.generate.select.min_precision",
    "--mode": "--config.generate.mode",
}
FILES = "; a name or a quoted glob, repeatable"
# "FLAG", or "VERB FLAG" where a verb means something else by it
FLAGS: dict[str, Callable[[flags.FlagValues], Any]] = {
    "input": lambda to: flags.DEFINE_multi_string("input", [], f"catalog files{FILES}", flag_values=to),
    "train": lambda to: flags.DEFINE_multi_string(
        "train", [], f"training files, where splits exist already{FILES}", flag_values=to
    ),
    "validation": lambda to: flags.DEFINE_multi_string(
        "validation", [], f"validation files{FILES}", flag_values=to
    ),
    "test": lambda to: flags.DEFINE_multi_string("test", [], f"test files{FILES}", flag_values=to),
    "corrections": lambda to: flags.DEFINE_multi_string(
        "corrections", [], "judged lists of `taggen audit-labels`, repeatable", flag_values=to
    ),
    "of": lambda to: flags.DEFINE_string(
        "of", "", "folder that `taggen evaluate` or `taggen crossval` wrote", flag_values=to
    ),
    "tagged": lambda to: flags.DEFINE_string(
        "tagged", "", "folder that `taggen generate` wrote for the input", flag_values=to
    ),
    "pseudo-label output": lambda to: flags.DEFINE_string(
        "output", "", "file to write, .jsonl", flag_values=to
    ),
    "min_score": lambda to: flags.DEFINE_float(
        "min_score", 0.9, "least score of a tag to train on", flag_values=to
    ),
    "quota": lambda to: flags.DEFINE_float(
        "quota", 1.0, "of a tag at most so many times its training products", flag_values=to
    ),
    "audit-labels output": lambda to: flags.DEFINE_string(
        "output", "", "file to write, .csv or .jsonl", flag_values=to
    ),
    "most": lambda to: flags.DEFINE_integer(
        "most",
        500,
        "rows of each kind: tags that may be wrong, and missing ones",
        lower_bound=1,
        flag_values=to,
    ),
    "vocabulary input": lambda to: flags.DEFINE_string("input", "", "file to read", flag_values=to),
    "vocabulary output": lambda to: flags.DEFINE_string("output", "", "file to write", flag_values=to),
    "vocabulary format": lambda to: flags.DEFINE_enum(
        "format",
        "terms",
        ["terms", "list", "indented", "paths"],
        "what the input is: a vocabulary file, a plain list, an indented list, or a taxonomy of 'A > B > C' "
        "(Google's, Shopify's)",
        flag_values=to,
    ),
    "vocabulary previous": lambda to: flags.DEFINE_string(
        "previous", "", "vocabulary file whose terms to keep and to add to", flag_values=to
    ),
    "language": lambda to: flags.DEFINE_string(
        "language", "en", "of the names in a list or taxonomy", flag_values=to
    ),
    "output": lambda to: flags.DEFINE_string("output", "", "folder to write", flag_values=to),
    "data": lambda to: flags.DEFINE_string("data", "", "folder that `taggen prepare` wrote", flag_values=to),
    "workdir": lambda to: flags.DEFINE_string("workdir", "", "folder of the run", flag_values=to),
    "from": lambda to: flags.DEFINE_string("from", "", "Hugging Face folder to read", flag_values=to),
    "export format": lambda to: flags.DEFINE_enum(
        "format", "hf", ["hf", "ctranslate2", "orbax", "stablehlo"], "what to write", flag_values=to
    ),
    "dtype": lambda to: flags.DEFINE_enum(
        "dtype", "keep", ["keep", "float32", "bfloat16"], "type of the weights", flag_values=to
    ),
    "check": lambda to: flags.DEFINE_boolean(
        "check", True, "load what was written with its library and compare", flag_values=to
    ),
    "split": lambda to: flags.DEFINE_enum(
        "split", "test", ["train", "validation", "test"], "which part of the data", flag_values=to
    ),
    "folds": lambda to: flags.DEFINE_integer(
        "folds", 5, "how many parts the catalog is cut into", flag_values=to
    ),
    "fit": lambda to: flags.DEFINE_multi_string(
        "fit", [], "folders of the systems' predictions.jsonl on validation; repeatable", flag_values=to
    ),
    "apply": lambda to: flags.DEFINE_multi_string(
        "apply", [], "folders of theirs on what to answer, in the same order; repeatable", flag_values=to
    ),
    "a": lambda to: flags.DEFINE_string("a", "", "folder of one system's predictions.jsonl", flag_values=to),
    "b": lambda to: flags.DEFINE_string("b", "", "folder of the other's", flag_values=to),
    "generate format": lambda to: flags.DEFINE_enum(
        "format", "jsonl", ["jsonl", "parquet"], "file of predictions", flag_values=to
    ),
    "shard_rows": lambda to: flags.DEFINE_integer(
        "shard_rows", 4096, "rows between two commits", lower_bound=1, flag_values=to
    ),
    "previous": lambda to: flags.DEFINE_string(
        "previous",
        "",
        "output of an earlier job: products that have not changed keep its tags",
        flag_values=to,
    ),
    "profile": lambda to: flags.DEFINE_string(
        "profile",
        "",
        "steps to trace into the workdir, the first and the last, such as 10:15",
        flag_values=to,
    ),
    "topology": lambda to: flags.DEFINE_string(
        "topology",
        "",
        "of a slice, such as v5p:4x4x4 (v4, v5e, v5p, v6e, tpu7x) or h100:2x8 (a100)",
        flag_values=to,
    ),
    "slices": lambda to: flags.DEFINE_integer("slices", 1, "how many slices", lower_bound=1, flag_values=to),
    "batch": lambda to: flags.DEFINE_integer(
        "batch", 0, "rows of a training batch; 0: the config's", lower_bound=0, flag_values=to
    ),
    "search": lambda to: flags.DEFINE_boolean(
        "search", False, "find the largest batch that fits, for each remat policy", flag_values=to
    ),
    "distributed": lambda to: flags.DEFINE_boolean(
        "distributed", False, "this process is one of a run's; all get the same command", flag_values=to
    ),
    "coordinator": lambda to: flags.DEFINE_string(
        "coordinator", "", "HOST:PORT of process 0, where no cluster says it", flag_values=to
    ),
    "processes": lambda to: flags.DEFINE_integer(
        "processes", 0, "how many they are, where no cluster says it", lower_bound=0, flag_values=to
    ),
    "process": lambda to: flags.DEFINE_integer(
        "process", -1, "which one this is, from 0, where no cluster says it", lower_bound=-1, flag_values=to
    ),
    "lost_after": lambda to: flags.DEFINE_integer(
        "lost_after",
        60,
        "seconds without a sign of life after which a process is lost, and the others end with 134",
        lower_bound=1,
        flag_values=to,
    ),
    "strict": lambda to: flags.DEFINE_boolean("strict", False, "stop at the first bad row", flag_values=to),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs `taggen` and exits: 0 done, 2 a user's mistake (one line on standard error), 130 interrupted.

    On SIGTERM a program that can go on later exits with 143.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    compilations.keep(os.environ)
    try:
        status = _run(arguments)
    except (UserError, flags.Error) as error:
        status = _complain(str(error))
    except KeyboardInterrupt:
        print("taggen: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except OSError as error:
        if error.filename is None:
            raise
        status = _complain(
            f"{error.filename}: {error.strerror}; check the path, its permissions and the free space"
        )
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"taggen {__version__}")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        raise UserError(f"no verb {name!r}; there are {', '.join(VERBS)} (see `taggen --help`)")
    if any(argument in ("-h", "--help") for argument in rest):
        print(_help(name))
        return 0
    if VERBS[name].config == "workdir":
        rest = [_long(argument) for argument in rest]
    given = _arguments(name, rest)
    if "distributed" in given:
        _join(given.pop("distributed"), {flag: given.pop(flag) for flag in HOSTS})
    module, function = (VERBS[name].program or f"{name}.run").split(".")
    getattr(importlib.import_module(f"taggen_jax.{module}"), function)(**given)
    return 0


def _join(distributed: bool, given: dict[str, Any]) -> None:
    from taggen_jax.parallel import hosts  # imports jax, see below

    if distributed:
        hosts.join(**given)
    elif given["coordinator"] or given["processes"] or given["process"] >= 0:
        raise UserError("--coordinator, --processes and --process are for --distributed; add it")


def _long(argument: str) -> str:
    flag, equals, value = argument.partition("=")
    return SHORT.get(flag, flag) + equals + value


def _arguments(name: str, rest: list[str]) -> dict[str, Any]:
    """The keyword arguments of a program's `run`, from its flags."""
    verb, values = VERBS[name], _flags(name, rest)
    try:
        extra = values([f"taggen {name}", *rest])[1:]
    except (flags.Error, UserError):
        raise
    except Exception as error:  # a config file is the user's program: whatever it raises is theirs to mend
        raise UserError(f"taggen {name}: --config: {type(error).__name__}: {error}") from error
    if extra:
        raise UserError(f"taggen {name}: unexpected argument {extra[0]!r}; flags are written --name=value")
    for needed in verb.needs:
        if not values[needed].value:
            raise UserError(f"taggen {name}: --{needed} is missing; see `taggen {name} --help`")
    arguments: dict[str, Any] = {flag: values[flag].value for flag in (*verb.needs, *verb.takes)}
    for flag in FOLDERS & arguments.keys():
        arguments[flag] = pathlib.Path(arguments[flag]) if arguments[flag] else None
    if verb.config:
        from taggen_jax import experiment  # imports jax: the help and a mistake should not wait for it

        settings: Any = values["config"].value
        arguments["experiment"] = experiment.parse(settings)
    return {flag + "_" * keyword.iskeyword(flag): value for flag, value in arguments.items()}


def _flags(name: str, rest: list[str]) -> flags.FlagValues:
    verb, values = VERBS[name], flags.FlagValues()
    for flag in (*verb.needs, *verb.takes):
        _define(name, flag, values)
    if verb.config == "file":
        path = _given("config", rest)
        if not path:
            raise UserError(
                f"taggen {name}: --config is missing; give a file such as --config=configs/demo.py"
            )
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such config file; give one such as --config=configs/demo.py")
        config_flags.DEFINE_config_file("config", help_string="experiment", flag_values=values, sys_argv=rest)
    elif verb.config:
        from taggen_jax import experiment

        config = experiment.config_dict(_default(verb, rest))
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
    return values


def _default(verb: Verb, rest: list[str]) -> Any:
    from taggen_jax import convert, demo, experiment

    if verb.config == "demo":
        return demo.experiment()
    if verb.config == "from":
        return convert.settings(pathlib.Path(_given("from", rest)))
    return experiment.load(pathlib.Path(_given("workdir", rest)) / "config.json")


def _given(flag: str, rest: Sequence[str]) -> str:
    """The value of --flag=value or --flag value, before the flags are parsed."""
    for i, argument in enumerate(rest):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == flag:
            return value if equals else "".join(rest[i + 1 : i + 2])
    return ""


def _define(verb: str, flag: str, values: flags.FlagValues) -> None:
    """Defines a flag: the verb's own meaning of it, where there is one, or the one that all share."""
    (FLAGS.get(f"{verb} {flag}") or FLAGS[flag])(values)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    usage = "usage: taggen VERB [--flag=value ...]; `taggen VERB --help` lists a verb's flags"
    return "\n".join(["taggen: product text in, product tags out", "", usage, "", *lines])


def _help(name: str) -> str:
    verb, values = VERBS[name], flags.FlagValues()
    for flag in (*verb.needs, *verb.takes):
        _define(name, flag, values)
    rows = [
        (f"--{flag}", values[flag].help + (" (required)" if flag in verb.needs else "")) for flag in values
    ]
    if verb.config == "file":
        rows.insert(0, ("--config", "Python file with get_config(), as in configs/ (required)"))
    if verb.config == "workdir":
        rows.append(
            ("--min-precision", "answer only what the calibration promises to be so precise, e.g. 0.9")
        )
        rows.append(
            (
                "--mode",
                "beam, exact (a tag's probability to come first), head (to be there), sample (at random)",
            )
        )
    if verb.config:
        rows.append(("--config.FIELD", "overrides a setting, e.g. --config.generate.decode.beams=8"))
    lines = [f"  {flag:<16}  {what}" for flag, what in rows]
    return "\n".join([f"usage: taggen {name} [--flag=value ...]", "", verb.summary, "", *lines])


def _complain(message: str) -> int:
    print("taggen: error: " + " ".join(message.split()), file=sys.stderr)
    return MISTAKE


if __name__ == "__main__":
    main()
