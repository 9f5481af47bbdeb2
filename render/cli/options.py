"""Options that several commands share. Those of Settings have their meaning, default and range from its
fields."""

from functools import partial
from typing import Any

from render.cli.arguments import COUNT, Number, Option, checked, numeric

JSON = Option("--json", "Write one JSON object per line to standard output.", False, kind="flag")
OVERWRITE = Option(
    "--overwrite",
    "Replace files that are in a print's place though render did not make them.",
    False,
    kind="flag",
)
DEVICE = Option(
    "--device",
    "Processor that runs the network (auto: a GPU where there is one that torch can use).",
    "auto",
    choices=("auto", "cpu", "cuda"),
)
CLUSTER_ADDRESS = Option(
    "--address",
    "Address of the cluster's dashboard, as this machine reaches it: http://localhost:8265.",
    metavar="URL",
)

# --- where jobs run -----------------------------------------------------------------------------------------

RUNNER = Option(
    "--runner",
    "Where jobs run: on this machine (local), or spread over GPUs and machines by Ray (ray); auto is ray "
    "where --address is given or there are several GPUs, else local.",
    "auto",
    choices=("auto", "local", "ray"),
)
ADDRESS = Option(
    "--address",
    "Address of a running Ray cluster, as seen from its network: HOST:6379, or auto. Without one, --runner "
    "ray starts Ray on this machine, reachable from this machine alone.",
    metavar="ADDRESS",
)
WORKERS = numeric(
    "--workers",
    "Number of workers: on this machine, processes that share its cores and memory; with Ray, workers of the "
    "cluster.",
    COUNT,
    metavar="N",
    default_shown="1; with Ray, as many as fit",
)
CPUS_PER_WORKER = numeric(
    "--cpus-per-worker",
    "With Ray, without GPUs: cores of each worker.",
    COUNT,
    metavar="N",
    default_shown="4, or an equal share for each of --workers",
)
TIMEOUT = numeric(
    "--timeout",
    "With Ray: a worker that has been silent for so many minutes is replaced.",
    Number(above=0),
    default=30.0,
    metavar="MINUTES",
)
WORKER_OPTIONS = (WORKERS, CPUS_PER_WORKER, TIMEOUT)
RUNNER_OPTIONS = (RUNNER, ADDRESS, *WORKER_OPTIONS)

# --- settings -----------------------------------------------------------------------------------------------

STRUCTURE_SHARE = 0.03  # of the long side: --photoreal without a number


def setting(name: str, **more) -> Option:
    """The option that gives a field of Settings.

    Args:
        name: The field's.
        more: Fields of Option that only the command line has.
    """
    from render.jobs.fields import choices_of, extra, range_of
    from render.jobs.settings import Settings, option_of

    field = Settings.model_fields[name]
    unit = extra(field, "unit")
    meaning = field.description or ""
    return Option(
        **{
            "name": option_of(name),
            "meaning": f"{meaning.rstrip('.')} ({unit})." if unit and "parse" not in more else meaning,
            "default": field.default,
            "range": range_of(field),
            "choices": choices_of(field),
            "parse": partial(_parsed, name),
        }
        | more
    )


def _parsed(name: str, text: str) -> Any:
    """The value that a text is for a field of Settings. Raises UsageError."""
    from pydantic import ValidationError

    from render.jobs.settings import Settings, as_option, usage_error

    value = _number_or_text(name, text)
    try:  # with a paper, without which some settings make no sense
        Settings.model_validate({"paper": "A4", name: value})
    except ValidationError as error:
        raise usage_error(error, as_option) from error
    return value


def _number_or_text(name: str, text: str) -> Any:
    """A text that is no number stays one, and is then refused as such by Settings."""
    from render.jobs.fields import choices_of
    from render.jobs.settings import Settings

    field = Settings.model_fields[name]
    kinds = {type(choice) for choice in choices_of(field)} or {field.annotation}
    for annotation, convert in ((int, int), (float, float), (float | None, float)):
        if annotation in kinds:
            try:
                return convert(text)
            except ValueError:
                return text
    return text


def look_options(*, with_format: bool = True) -> tuple[Option, ...]:
    """Options of batch, image and submit that decide the pixels and the file."""
    from render.pictures.paper import parse_length_mm

    return (
        setting("size_px", metavar="PX"),
        setting("paper", metavar="PAPER", instead_of="--size"),
        setting("dpi", metavar="DPI"),
        setting("bleed_mm", metavar="LENGTH", parse=checked(parse_length_mm), default="0", range=_BLEED),
        setting("fit"),
        setting("quality"),
        Option(
            "--set",
            "Change one key of the look, for example --set content_weight=0.3; may be repeated.",
            range="`render presets keys` lists the keys",
            metavar="KEY=VALUE",
            kind="repeated",
        ),
        setting("seed", metavar="N"),
        *([setting("format")] if with_format else []),
        *finish_options(),
        DEVICE,
        _precision(),
        setting("weights", metavar="NAME|FILE"),
        setting("preprocessing"),
        _memory(),
    )


_BLEED = "a length like 3mm, 0.3cm or 0.125in, at most the short side of the paper"


def finish_options() -> tuple[Option, ...]:
    """Options that are applied to the painted picture."""
    return (
        setting("color"),
        setting(
            "photoreal",
            metavar="SHARE",
            nargs="?",
            without_value=STRUCTURE_SHARE,
            range=f"0 to 10 times the long side; {STRUCTURE_SHARE:g} without a number",
            default_shown="off",
        ),
        setting("bit_depth"),
        setting("profile", metavar="NAME|FILE"),
        setting("intent"),
        setting("soft_proof", metavar="FILE"),
    )


def _precision() -> Option:
    """`auto` is the command line's own: Settings has what was chosen."""
    chosen = setting("precision")
    return Option(
        chosen.name,
        f"{chosen.meaning.rstrip('.')} (auto: bfloat16 where the hardware multiplies it).",
        "auto",
        choices=("auto", *chosen.choices),
    )


def _memory() -> Option:
    from render.network.memory import parse_bytes

    return Option(
        "--memory",
        "The most memory to use; tile size, kept activations and the optimizer's history follow from it.",
        range="a number and a unit, like 6GiB or 800MB",
        metavar="BYTES",
        parse=checked(parse_bytes),
        default_shown="80 % of what is free",
    )


def changed(options: tuple[Option, ...], arguments) -> list[tuple[str, str]]:
    """Options that are not at their default, as (name, text)."""
    found = []
    for option in options:
        value = getattr(arguments, option.attribute)
        if value != (option.default or []) if option.kind == "repeated" else value != option.default:
            values = value if isinstance(value, list) else [value]
            found += [(option.name, option.write(each)) for each in values]
    return found
