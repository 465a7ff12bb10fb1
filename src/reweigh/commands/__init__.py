"""What each command does with its parsed flags: gather, call, print."""

from reweigh.commands.datasets import collect_command, convert, inspect, verify
from reweigh.commands.figures import plot, report
from reweigh.commands.mixing import mix_command
from reweigh.commands.sweeps import status, sweep_command
from reweigh.commands.training import bandit, doctor, evaluate, quickstart, train
from reweigh.commands.weights import export, weigh

COMMANDS = {
    "quickstart": quickstart,
    "inspect": inspect,
    "weigh": weigh,
    "train": train,
    "evaluate": evaluate,
    "export": export,
    "mix": mix_command,
    "collect": collect_command,
    "convert": convert,
    "plot": plot,
    "report": report,
    "bandit": bandit,
    "sweep": sweep_command,
    "status": status,
    "verify": verify,
    "doctor": doctor,
}
