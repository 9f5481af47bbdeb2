"""`render doctor`: what this machine has, and whether it can render."""

from render.cli.arguments import Parser


def add(commands: Parser) -> None:
    commands.command(
        "doctor",
        "show what this machine has (devices, memory, weights, versions) and whether it can render",
        "render doctor",
        _fill,
    )


def _fill(parser: Parser) -> None:
    parser.set_defaults(command=_doctor, only_reports=True)


def _doctor(arguments) -> int:
    from render.cli import machine

    return machine.examine()
