"""The command line: parse, call one function, print. A command imports JAX itself, where it needs it."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from reweigh.errors import ReweighError
from reweigh.flags import Help, add_commands
from reweigh.system.processes import BROKEN_PIPE, INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Usage errors in one line, with the nearest flag where one was mistyped; flags are never cut short."""

    def __init__(self, **settings: Any):
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        if "unrecognized arguments" in message:
            flags = [flag for action in self._actions for flag in action.option_strings]
            wrong = message.partition(": ")[2].partition(" ")[0] or "''"
            near = difflib.get_close_matches(wrong.partition("=")[0], flags, n=1)
            message = f"unknown argument {wrong}" + (f"; did you mean {near[0]}?" if near else "")
        self.exit(2, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] - overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        known, rest = super().parse_known_args(args, namespace)
        if rest:  # in the subcommand's parser, whose flags are the ones to suggest
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return known, rest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 user error, 2 usage, 130 interrupted, 141 output not read."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    arguments.parse = parser.parse_args
    words = sys.argv[1:] if argv is None else argv
    # `--flag=value` is `--flag value`, also in what is remembered of a command.
    arguments.argv = [part for word in words for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    # Imported late, so that --help answers at once.
    from reweigh import commands

    try:
        code = commands.COMMANDS[arguments.command](arguments)
        sys.stdout.flush()  # a broken pipe is met here, not while the interpreter ends
        return code
    except ReweighError as error:
        print(f"reweigh {arguments.command}: {one_line(str(error))}", file=sys.stderr)
        return 1
    except MemoryError as error:
        text = one_line(str(error)) or "no size is known"
        print(f"reweigh {arguments.command}: not enough memory ({text}). Ask for less.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"reweigh {arguments.command}: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as of `| head`; what is still buffered goes nowhere
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return BROKEN_PIPE


def one_line(text: str) -> str:
    """A message whose file names may hold line breaks or other unprintable characters, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def make_parser() -> argparse.ArgumentParser:
    """Every command with its flags, defaults and an example."""
    parser = _Parser(prog="reweigh", description="Offline RL on data of mixed quality.", formatter_class=Help)
    parser.add_argument("--version", action="version", version=_version())
    add_commands(
        parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    )
    return parser


def _version() -> str:
    from reweigh import __version__

    return f"reweigh {__version__}"


if __name__ == "__main__":
    sys.exit(main())
