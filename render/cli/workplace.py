"""From a command's options to settings, a device and a runner."""

import os
from contextlib import contextmanager

from render.cli.choice import wants_ray
from render.cli.messages import inform
from render.errors import UsageError

WORKERS_PER_CORE = 2  # one paints while the other reads and writes


@contextmanager
def workplace(arguments):
    """(settings, device, storage -> runner) for a batch; the device is None where Ray's workers choose
    theirs. A dry run is always for this machine."""
    if not wants_ray(arguments) or arguments.dry_run:
        device, settings = device_and_settings(arguments, format=arguments.format)
        from render.painting.renderer import MakeRenderer

        yield (
            settings,
            device,
            lambda storage: local_runner(arguments, device, MakeRenderer(settings, storage)),
        )
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
    """(the device of the options, Settings with its precision). more: fields of Settings that no option
    gives."""
    from render.network.device import choose

    device = choose(arguments.device, arguments.precision, memory_bytes=memory_bytes(arguments))
    settings = settings_of(arguments, precision=device.precision, **more)
    refuse_bad(settings)
    return device, settings


def memory_bytes(arguments) -> int | None:
    """Of --memory; None where it is not given."""
    from render.network.memory import parse_bytes

    return None if arguments.memory is None else parse_bytes(arguments.memory)


def refuse_bad(settings) -> None:
    """A bad profile or paper is refused before any work. Raises UsageError."""
    from render.painting.finish import Finish

    Finish.of(settings)
    settings.layout((1000, 1000))


def settings_of(arguments, **more):
    """Settings from the options of a command. more: fields that no option gives. Raises UsageError."""
    from pydantic import ValidationError

    from render.jobs.settings import Settings, as_option, usage_error

    try:
        return Settings(**_settings(arguments), **more)
    except ValidationError as error:
        raise usage_error(error, as_option) from error


def _settings(arguments) -> dict:
    """Fields of Settings from the options that give them, but for `format` and `precision`."""
    from render.cli.options import look_options
    from render.jobs.settings import Settings, option_of
    from render.pictures.paper import parse_length_mm

    attributes = {option.name: option.attribute for option in look_options(with_format=False)}
    found = {
        name: getattr(arguments, attributes[option_of(name)])
        for name in Settings.model_fields
        if name not in ("format", "precision")
    }
    return found | {
        "bleed_mm": parse_length_mm(arguments.bleed),
        "profile": _absolute(arguments.profile),
        "soft_proof": _absolute(arguments.soft_proof),
        "weights": _weights(arguments),
    }


def _weights(arguments) -> str:
    """A source's name as it is; a path absolute, because workers may run in another folder."""
    from render.network.weights import SOURCES

    return arguments.weights if arguments.weights in SOURCES else os.path.abspath(arguments.weights)


def _absolute(profile: str | None) -> str | None:
    """A built-in name as it is, and a path absolute, as for `_weights`."""
    from render.pictures.icc import BUILT_IN

    return profile if profile is None or profile in BUILT_IN else os.path.abspath(profile)


def fingerprint_of(settings) -> str:
    """The sha256 of the network's weights."""
    from render.network.weights import fingerprint

    return fingerprint(settings.weights)


def local_runner(arguments, device, make_worker):
    """A runner of as many processes as --workers says. Raises UsageError."""
    from render.runners.local import LocalRunner

    workers = _at_most_what_helps(arguments.workers or 1)
    if workers > 1 and device.name != "cpu":
        raise UsageError(
            f"--workers {workers}: one process per GPU. Use --runner ray for several GPUs, leave it out, "
            f"or use --device cpu."
        )
    return LocalRunner(device, make_worker, workers=workers)


def _at_most_what_helps(requested: int) -> int:
    """Each takes some hundred megabytes before it paints anything."""
    most = WORKERS_PER_CORE * (os.cpu_count() or 1)
    if requested > most:
        inform(
            f"--workers {requested}: this machine has {os.cpu_count()} cores, so {most} are started at most"
        )
    return min(requested, most)
