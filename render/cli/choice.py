"""Where jobs run: on this machine, or on Ray."""

import sys

from render.errors import UsageError


def wants_ray(arguments) -> bool:
    """Whether the jobs are Ray's: asked for, an address is given, or there are several GPUs and Ray is
    installed.

    Raises UsageError for words that contradict each other.
    """
    if arguments.runner != "auto":
        if arguments.runner == "local" and arguments.address:
            raise UsageError(
                f"--address {arguments.address}: of a Ray cluster, and --runner local does without. "
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
        print(
            f"render: {len(device.gpus())} GPUs are here and one will be used. For all: pip install "
            f"'render-prints[ray]'",
            file=sys.stderr,
        )
        return False
    return True
