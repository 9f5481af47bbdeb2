"""From a command's options to settings, a device and a runner."""

import os
from contextlib import contextmanager

from render.cli.choice import wants_ray
from render.cli.messages import tell
from render.errors import UsageError

WORKERS_PER_CORE = 2  # one paints while the other reads and writes


@contextmanager
def workplace(arguments):
    """(settings, device, storage -> runner) for a batch; the device is None where Ray's workers choose
    theirs. A dry run is always for this machine."""
    if not wants_ray(arguments) or arguments.dry_run:
        device, settings = device_and_settings(arguments, format=arguments.format)
        yield settings, device, lambda storage: _local_runner(arguments, device, settings, storage)
        return
    from render.distributed import cluster

    most = memory_bytes(arguments)
    refuse_bad(settings_of(arguments, format=arguments.format))
    with cluster.connected(
        arguments.address,
        weights=_weights(arguments),
        preprocessing=arguments.preprocessing,
        device=arguments.device,
    ) as found:
        from render.distributed.ray_jobs import RayRunner
        from render.painting.renderer import MakeRenderer

        name = found.device(arguments.device)
        settings = settings_of(
            arguments, format=arguments.format, precision=found.precision(arguments.precision, name)
        )
        cpus = found.cpus_each(arguments.cpus_per_worker, arguments.workers)
        yield (
            settings,
            None,
            lambda storage: RayRunner(
                found,
                name,
                MakeRenderer(settings, storage),
                storage,
                arguments.workers,
                cpus,
                most,
                60 * arguments.timeout,
            ),
        )


def device_and_settings(arguments, **more):
    from render.network.device import choose

    device = choose(arguments.device, arguments.precision, memory_bytes=memory_bytes(arguments))
    settings = settings_of(arguments, precision=device.precision, **more)
    refuse_bad(settings)
    return device, settings


def memory_bytes(arguments) -> int | None:
    from render.network.memory import parse_bytes

    return None if arguments.memory is None else parse_bytes(arguments.memory)


def refuse_bad(settings) -> None:
    """A bad profile or paper is refused before any work. Raises UsageError."""
    from render.painting.finish import Finish

    Finish.of(settings)
    settings.layout((1000, 1000))


def settings_of(arguments, **more):
    from render.jobs.settings import Settings
    from render.pictures.paper import parse_length_mm

    return Settings(
        size_px=arguments.size,
        paper=arguments.paper,
        dpi=arguments.dpi,
        bleed_mm=parse_length_mm(arguments.bleed),
        fit=arguments.fit,
        quality=arguments.quality,
        seed=arguments.seed,
        color=arguments.color,
        photoreal=arguments.photoreal,
        bit_depth=arguments.bit_depth,
        profile=_absolute(arguments.profile),
        intent=arguments.intent,
        soft_proof=_absolute(arguments.soft_proof),
        weights=_weights(arguments),
        preprocessing=arguments.preprocessing,
        **more,
    )


def _weights(arguments) -> str:
    """A source's name as it is; a path absolute, because workers may run in another folder."""
    from render.network.weights import SOURCES

    return arguments.weights if arguments.weights in SOURCES else os.path.abspath(arguments.weights)


def _absolute(profile: str | None) -> str | None:
    """A built-in name as it is, and a path absolute, as for `_weights`."""
    from render.pictures.icc import BUILT_IN

    return profile if profile is None or profile in BUILT_IN else os.path.abspath(profile)


def fingerprint_of(settings) -> str:
    from render.network.weights import fingerprint

    return fingerprint(settings.weights)


def _local_runner(arguments, device, settings, storage):
    from render.painting.renderer import MakeRenderer
    from render.runners.local import LocalRunner

    workers = _some_workers(arguments.workers or 1)
    if workers > 1 and device.name != "cpu":
        raise UsageError(
            f"--workers {workers}: one process a GPU. Use --runner ray for several GPUs, leave it out, "
            f"or use --device cpu."
        )
    return LocalRunner(device, MakeRenderer(settings, storage), workers=workers)


def _some_workers(wanted: int) -> int:
    """Each takes some hundred megabytes before it paints anything."""
    most = WORKERS_PER_CORE * (os.cpu_count() or 1)
    if wanted > most:
        tell(f"--workers {wanted}: this machine has {os.cpu_count()} cores, so {most} are started at most")
    return min(wanted, most)
