"""taggen VERB: the command line, and the only reader of flags and ConfigDicts."""

import importlib
import keyword
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from taggen_jax import __version__, compilations
from taggen_jax.errors import UserError
from taggen_jax.verbs import FLAGS, FOLDERS, HOSTS, SHORT, VERBS, Verb

MISTAKE = 2  # exit status for what the user can mend
INTERRUPTED = 130


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
