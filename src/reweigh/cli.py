"""The command line: parse, call one function, print; commands import JAX themselves if they need it."""

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
    """Usage errors in one line, suggesting the nearest flag; flags cannot be abbreviated."""

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
        if rest:  # reported here, because suggestions need the subcommand's flags
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return known, rest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 error, 130 interrupted, 141 broken pipe; usage errors exit with 2."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    arguments.parse = parser.parse_args
    words = sys.argv[1:] if argv is None else argv
    # `--flag=value` is recorded as `--flag value`, so that both spellings give the same history.
    arguments.argv = [part for word in words for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    try:
        code = _run(arguments)
        if sys.stdout is not None:  # None if it was closed before the start
            sys.stdout.flush()  # so that a broken pipe shows up here, not at exit
        return code
    except BrokenPipeError:  # as from `| head`; discard what is still buffered
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                os.dup2(nowhere, stream.fileno())
        return BROKEN_PIPE


def _run(arguments: argparse.Namespace) -> int:
    """Call the command; print its errors as one line."""
    # Imported late, so that --help is fast.
    from reweigh import commands

    try:
        return commands.COMMANDS[arguments.command](arguments)
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


def one_line(text: str) -> str:
    """Escape line breaks and other unprintable characters, which file names may contain."""
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
