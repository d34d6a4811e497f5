"""Image and text towers, in open_clip's terms: a configuration or an address goes in, unit features come out.

`towers` builds a model from its configuration, `pretrained` and `load` take published ones by an address, `text` has
tokens and prompt templates, `encode` computes features of images and texts, `features` keeps them on disk.

Importing this package makes ``import torchvision``, and so open_clip and timm, work where its compiled operators are
missing: the CPU build of torch, next to the torchvision that a package registry pairs with it. Its Python part then
fails at import ("operator torchvision::nms does not exist"), as it describes two operators to torch's compiler.
Declaring their schemas is enough. Nothing here calls them (non-maximum suppression, for detection); a call still
raises torch's own "not implemented".
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    _LIBRARY = torch.library.Library("torchvision", "DEF")  # the schemas live as long as this handle
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from .encode import encode_images, encode_texts
from .load import export_model, load_model
from .text import tokenize
from .towers import build_model, count_parameters

__all__ = [
    "build_model",
    "count_parameters",
    "encode_images",
    "encode_texts",
    "export_model",
    "load_model",
    "tokenize",
]
