"""What a user is told: every message of `InputError` in the library is in input_errors.txt, and says the next action.

A message that is gone from there is a mistake that is no longer answered, or is answered otherwise: look, then write
the list anew with ``python -m tests.test_input_errors``. Holes of a message are ``{}``.
"""

import ast
import re
from pathlib import Path

import bioclip_lib

LIBRARY = Path(bioclip_lib.__file__).parent
LIST = Path(__file__).with_name("input_errors.txt")
ACTIONS = (
    "add ask build call check choose compare complete compute convert delete download draw exclude export "
    "find free give inspect install keep leave load look lower make merge name number open pack pass "
    "project put read rebuild reinstall remove rename repair replace rerun run save see set split start stop "
    "take tell train unpack use wait write"
).split()
ARGUMENTS = (
    "given",
    "wanted",
    "takes",
    "must be",
    "do not fit",
    "no mean",
)  # of a function: told to whoever calls it
SAID_ELSEWHERE = ("cannot be read ({}); the results", "needs the lines", "mixed up", "says why", "numbers are known")


def template(node: ast.expr) -> str:
    """Return the text of a message, with {} for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return "{}"


def messages() -> list[str]:
    """List the templates of all messages in the library."""
    found = set()
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if kind in ("InputError", "NoImageError") and node.args:
                found.add(template(node.args[0]))
    return sorted(found)


def test_the_list_is_that_of_the_library():
    listed = LIST.read_text(encoding="utf-8").splitlines()
    gone, new = sorted({*listed} - {*messages()}), sorted({*messages()} - {*listed})
    assert not gone and not new, f"look, then: python -m tests.test_input_errors\ngone: {gone}\nnew: {new}"


def test_each_is_one_line_and_ends_with_the_next_action():
    for message in messages():
        assert "\n" not in message, message
        is_filled_in = not re.sub(r"[\W\d]|{}", "", message) or message.endswith(
            "{}"
        )  # by a function with its own words
        if not is_filled_in and not any(words in message for words in (*ARGUMENTS, *SAID_ELSEWHERE)):
            assert re.search(rf"\b({'|'.join(ACTIONS)})\b", message), f"what to do next? {message}"


if __name__ == "__main__":
    LIST.write_text("\n".join(messages()) + "\n", encoding="utf-8")
