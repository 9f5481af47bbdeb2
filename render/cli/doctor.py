"""`render doctor`: what this machine has, and whether it can render."""


def add(commands) -> None:
    parser = commands.add_parser("doctor", help="what this machine has: devices, memory, weights, versions")
    parser.set_defaults(command=_doctor, only_tells=True)


def _doctor(arguments) -> int:
    from render.cli import machine

    return machine.examine()
