"""Where jobs run: on this machine, or on Ray."""

from render.cli.messages import inform
from render.errors import UsageError


def wants_ray(arguments) -> bool:
    """Whether Ray runs the jobs: where it is requested, an address is given, or there are several GPUs and
    Ray is installed.

    Raises UsageError for options that contradict each other.
    """
    if arguments.runner != "auto":
        if arguments.runner == "local" and arguments.address:
            raise UsageError(
                f"--address {arguments.address}: is of a Ray cluster, which --runner local does not use. "
                f"Leave one of them out."
            )
        return arguments.runner == "ray"
    if arguments.address:
        return True
    from render.network import device

    if arguments.device == "cpu" or len(device.gpus()) < 2:
        return False
    try:
        from render.distributed.cluster import import_ray

        import_ray()
    except UsageError:
        inform(
            f"{len(device.gpus())} GPUs are here and one will be used. To use all: pip install "
            "'render-prints[ray]'"
        )
        return False
    return True
