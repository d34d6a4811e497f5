"""Make ``import torchvision`` work where its compiled operators are missing.

Takes and returns nothing: importing this module is what it does, and it comes before `open_clip` and `timm`.

The CPU build of torch, next to the torchvision that a package registry pairs with it, leaves torchvision without its
compiled library. Its Python part then fails at import ("operator torchvision::nms does not exist"), because it
describes two operators to torch's compiler. Declaring their schemas is enough for that. Nothing here calls the
operators (non-maximum suppression, for detection); a call still raises torch's own "not implemented".
"""

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    _LIBRARY = torch.library.Library("torchvision", "DEF")  # the schemas live as long as this handle
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
