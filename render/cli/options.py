"""Options that several commands share."""

from render.cli.arguments import minutes, number, positive, share


def overwrite_option(parser) -> None:
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that are in a print's place, though render did not make them",
    )


def runner_options(parser) -> None:
    parser.add_argument(
        "--runner",
        choices=("auto", "local", "ray"),
        default="auto",
        help="ray: jobs, and the tiles of large prints, spread over GPUs and machines; auto: where "
        "--address is "
        "given or there are several GPUs, else local",
    )
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="of a running Ray cluster, from its network: HOST:6379 or auto. Without "
        "one, --runner ray starts Ray on this machine, on localhost only",
    )
    worker_options(parser)


def worker_options(parser) -> None:
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="local: processes that share this machine's cores (1); ray: so many workers (as many as fit)",
    )
    parser.add_argument(
        "--cpus-per-worker", type=positive, metavar="N", help="ray without GPUs: cores of each worker (4)"
    )
    parser.add_argument(
        "--timeout",
        type=minutes,
        default=30.0,
        metavar="MINUTES",
        help="ray: a worker that gives no sign of life for so long is replaced (default: %(default)g)",
    )


def look_options(parser, *, with_format: bool = True) -> None:
    """Options of batch and image that decide the pixels."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--size", type=positive, default=1024, metavar="PX", help="long side in px (default: %(default)s)"
    )
    size.add_argument(
        "--print",
        dest="paper",
        metavar="PAPER",
        help="paper instead of --size: A2, 60x90cm, 24x36in ... (turned to the photo's orientation)",
    )
    parser.add_argument(
        "--dpi",
        type=number,
        default=300.0,
        help="px an inch, also written into the file (default: %(default)g)",
    )
    parser.add_argument(
        "--bleed", default="0", metavar="LENGTH", help="with --print: on every side, e.g. 3mm or 0.125in"
    )
    parser.add_argument(
        "--fit",
        choices=("fit", "fill", "pad"),
        default="fit",
        help="with --print: the whole picture (fit), cropped to fill the sheet, or whole on a white sheet "
        "(pad) (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        choices=("draft", "standard", "best"),
        default="standard",
        help="iterations at each scale (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the look, e.g. --set content_weight=0.3 (`render presets keys` lists them)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the noise that init=noise starts from (default: %(default)s)"
    )
    if with_format:
        parser.add_argument(
            "--format", choices=("png", "tiff", "jpeg", "webp"), default="png", help="default: %(default)s"
        )
    finish_options(parser)
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the network's features; auto: bfloat16 where the hardware has it",
    )
    parser.add_argument(
        "--weights",
        default="caffe",
        metavar="NAME|FILE",
        help="VGG-19's: caffe (embedded, Gatys' own), torchvision, or a .safetensors or .pth file",
    )
    parser.add_argument(
        "--preprocessing", choices=("caffe", "torchvision"), help="what --weights FILE was trained with"
    )
    parser.add_argument(
        "--memory",
        metavar="BYTES",
        help="the most to use, e.g. 6GiB: decides tile size, kept activations "
        "and the optimiser's history (default: 80 %% of what is free)",
    )


def finish_options(parser) -> None:
    """Options that are applied to the painted picture."""
    parser.add_argument(
        "--color",
        choices=("style", "luminance", "match", "histogram"),
        default="style",
        help="as painted (style); the photo's colours under the painted lightness (luminance); the style's "
        "colours matched to the photo's before painting (match); the photo's distribution of colours "
        "after it (histogram) (default: %(default)s)",
    )
    parser.add_argument(
        "--photoreal",
        type=share,
        nargs="?",
        const=0.03,
        metavar="LENGTH",
        help="keep the photo's structure: detail finer than LENGTH, a share of the long side, comes from the "
        "photo (0.03 when no number is given)",
    )
    parser.add_argument(
        "--bit-depth", type=int, choices=(8, 16), default=8, help="16: png and tiff (default: %(default)s)"
    )
    parser.add_argument(
        "--profile",
        default="srgb",
        metavar="NAME|FILE",
        help="the file's colours: srgb, adobe-rgb, display-p3, or an RGB .icc file (default: %(default)s)",
    )
    parser.add_argument(
        "--intent",
        choices=("perceptual", "relative", "saturation", "absolute"),
        default="relative",
        help="rendering intent of the conversion (default: %(default)s)",
    )
    parser.add_argument(
        "--soft-proof",
        metavar="FILE",
        help="a printer's .icc profile (CMYK too): PRINT.proof.png shows what will come out of it",
    )
