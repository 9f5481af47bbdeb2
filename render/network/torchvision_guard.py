"""Imports torchvision beside a CPU-only torch. Nothing else imports it.

PyPI's torchvision is built for CUDA: beside a CPU-only torch its C++ operators do not load and the import
fails with "operator torchvision::nms does not exist". Models, transforms and data sets need none of them, so
declaring the schemas it looks for is enough.
"""

import sys

from render.errors import WeightsError

_declared = []  # torch forgets a library's operators when the object goes


def import_torchvision():
    """The module torchvision. Raises WeightsError when it is not installed."""
    try:
        import torchvision
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise WeightsError(
            "torchvision is not installed: pip install 'render-prints[torchvision]'"
        ) from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _declare_operators()
        import torchvision
    import torchvision.models

    return torchvision


def _declare_operators() -> None:
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half-imported
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
