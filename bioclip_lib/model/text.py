"""What a text tower reads: tokens, prompt templates, and texts through the tower without their padding.

Takes texts, names of templates, or tokens with an `open_clip` model; returns tokens, templates or features. Refuses
unknown templates, and those without a place for the class.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock

from ..errors import InputError
from ..shards.captions import TEMPLATES_ONE

TEMPLATES = {
    "none": ("{}",),
    "one": TEMPLATES_ONE,
    "original": (*TEMPLATES_ONE, *(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)),
}
"""By name. "original" are the 81 of BioCLIP: its caption's own template, then OpenAI's 80 for ImageNet."""


def read_templates(name: str) -> tuple[str, ...]:
    """Return the templates of a name of `TEMPLATES`, or those of a text file with one a line: one ``{}`` in each."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(f"no templates {name!r}: choose {', '.join(TEMPLATES)}, or a text file with a template a line")
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark before the first letter
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; give a text file with a template a line") from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    wrong = [line for line in lines if line.count("{}") != 1 or line.count("{") != 1 or line.count("}") != 1]
    if wrong or not lines:
        raise InputError(
            f"{path}: {wrong[0] if wrong else 'no template'!r}; give a template a line, with one {{}} each"
        )
    return lines


@functools.cache
def _clip_tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def tokenize(texts: Sequence[str], context_length: int = 77) -> torch.Tensor:
    """Tokenize with CLIP's byte-pair vocabulary.

    Parameters
    ----------
    texts : sequence of str
    context_length : int
        Tokens of a text, its start and end among them; a model has its own.

    Returns
    -------
    Tensor of shape (n, context_length), int64
        Start token, text (cut where too long), end token (the highest id), zeros.

    Notes
    -----
    0 is also the token of "!": a text's length is the position of its end token, not its count of non-zeros.

    Examples
    --------
    >>> tokenize(["a bird"], context_length=6).tolist()
    [[49406, 320, 3329, 49407, 0, 0]]
    """
    if not len(texts):
        return torch.zeros(0, context_length, dtype=torch.long)
    return _clip_tokenizer()(list(texts), context_length=context_length)


def encode_tokens(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Encode tokenized texts, (n, L) to (n, D), not normalised; as ``model.encode_text``, without the padding."""
    if not is_causal_clip(model):
        return model.encode_text(tokens)
    # nothing after the end token reaches the output: cutting all texts after the longest is exact
    end = tokens.argmax(dim=-1)  # (n,); the end token has the highest id
    length = int(end.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]  # (n, L, W)
    x = _pooled(model.transformer, x, model.attn_mask[:length, :length], end)
    x = model.ln_final(x)
    return x @ model.text_projection  # (n, W) @ (W, D) -> (n, D)


def _pooled(transformer: torch.nn.Module, x: torch.Tensor, mask: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """Run the blocks on tokens, (n, L, W), and return the end tokens, (n, W).

    Nobody reads what the last block makes of the other tokens: it is applied to the end tokens alone, which in a tower
    of one block is nearly all of the work.
    """
    each, last = torch.arange(len(x), device=x.device), transformer.resblocks[-1]
    whole = transformer.grad_checkpointing or transformer._compiled_call_impl is not None
    if whole or type(last) is not ResidualAttentionBlock or not transformer.batch_first:  # of a shard, or another kind
        return transformer(x, attn_mask=mask)[each, end]
    for block in transformer.resblocks[:-1]:
        x = block(x, attn_mask=mask)
    tokens, x = last.ln_1(x), x[each, end]
    behind = torch.arange(tokens.shape[1], device=x.device) > end[:, None]  # (n, L)
    if last.attn.in_proj_weight[: 2 * x.shape[1]].any():
        query = tokens[each, end, None]
        attended, _ = last.attn(query, tokens, tokens, key_padding_mask=behind, need_weights=False)  # (n, 1, W)
        attended = attended[:, 0]
    else:
        attended = _mean_value(last.attn, tokens, behind)
    x = x + last.ls_1(attended)
    return x + last.ls_2(last.mlp(last.ln_2(x)))


def _mean_value(attention: torch.nn.MultiheadAttention, tokens: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
    """Attend to all tokens alike, (n, L, W) to (n, W), as without queries and keys: the mean, then the product."""
    width, seen = tokens.shape[-1], ~behind[..., None]
    mean = (tokens * seen).sum(dim=1) / seen.sum(dim=1)  # (n, L, W) -> (n, W)
    bias = attention.in_proj_bias[2 * width :]
    return attention.out_proj(F.linear(mean, attention.in_proj_weight[2 * width :], bias))


def is_causal_clip(model: torch.nn.Module) -> bool:
    """Tell whether the text tower is CLIP's own: causal, pooled at the end token, projected by a matrix."""
    return (
        isinstance(model, CLIP)
        and model.text_pool_type == "argmax"
        and model.attn_mask is not None
        and isinstance(model.text_projection, torch.Tensor)
    )


@contextlib.contextmanager
def compact_vocabulary(model: torch.nn.Module, *tokens: np.ndarray | torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Shrink the token table to the tokens that occur, renumbered in order; put the trained rows back at the end."""
    tensors = [torch.as_tensor(array) for array in tokens]
    if not is_causal_clip(model):
        yield tensors
        return
    table = model.token_embedding  # 49,408 rows, each visited by AdamW at every step; captions use a few hundred
    occurs = torch.zeros(table.num_embeddings, dtype=torch.bool)
    for tensor in tensors:
        occurs[tensor.flatten()] = True
    used, row = occurs.nonzero()[:, 0], occurs.cumsum(0) - 1
    model.token_embedding = torch.nn.Embedding.from_pretrained(
        table.weight.detach()[used.to(table.weight.device)], freeze=False
    )
    try:
        yield [row[tensor] for tensor in tensors]  # the end token keeps the highest number
    finally:
        with torch.no_grad():
            table.weight[used.to(table.weight.device)] = model.token_embedding.weight
        model.token_embedding = table
