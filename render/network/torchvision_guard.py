"""Imports torchvision, also where torch is a CPU build. No other module imports it.

The torchvision on PyPI is built for CUDA. With a CPU build of torch its C++ operators do not load, and the
import fails with "operator torchvision::nms does not exist". Its models, transforms and data sets need none
of them, so it is enough to declare the operators that the import looks for.
"""

import sys

from render.errors import WeightsError

_declared = []  # torch removes a library's operators when this object is deleted


def import_torchvision():
    """The module torchvision. Raises WeightsError if it is not installed."""
    try:
        import torchvision
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise WeightsError(
            "torchvision is not installed. Run: pip install 'render-prints[torchvision]'"
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
        del sys.modules[name]  # partly imported
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
