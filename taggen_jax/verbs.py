"""What `taggen` can do: its verbs, and what their flags mean. `main` runs them."""

import dataclasses
from collections.abc import Callable
from typing import Any

from absl import flags


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
        takes=("input", "train", "validation", "test", "corrections", "strict", "beam"),
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
        takes=("strict", "format", "shard_rows", "previous", "distributed", *HOSTS),
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
        takes=("macro_weight",),
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
    "macro_weight": lambda to: flags.DEFINE_float(
        "macro_weight",
        1.0,
        "points of micro-F1 that one of macro-F1 is worth where thresholds are chosen",
        lower_bound=0.0,
        flag_values=to,
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
    "beam": lambda to: flags.DEFINE_string(
        "beam", "", "write the rows on Apache Beam, with these options of its own", flag_values=to
    ),
    "strict": lambda to: flags.DEFINE_boolean("strict", False, "stop at the first bad row", flag_values=to),
}
