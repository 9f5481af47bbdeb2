"""TOML, read within bounds and written.

On text made to harm, Python's own reader stops with other errors than TOMLDecodeError, or not at all."""

import re
import tomllib
from collections.abc import Mapping
from tomllib import TOMLDecodeError
from typing import Any

import tomli_w

__all__ = ["TOMLDecodeError", "dumps", "parse"]

# 'a.a.a...' costs the square of its length in memory: 64 kB would take gigabytes.
DEEPEST_KEY = 32
# An unclosed string ends with the text, so that no text is searched twice.
_TEXTS = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:\\.|[^"\\\n])*"?|\'[^\'\n]*\'?|#[^\n]*',
    re.DOTALL,
)
_DEEP_KEY = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{DEEPEST_KEY}}}")


def dumps(values: Mapping[str, Any]) -> str:
    """The values as TOML. Bytes of a file name that are no text (lone surrogates) become "?"."""
    return tomli_w.dumps(values).encode("utf-8", "replace").decode()


def parse(text: str) -> dict[str, Any]:
    """Raises TOMLDecodeError, which is a ValueError, for what is not TOML, and ValueError for what is beyond
    the bounds; both say what is wrong."""
    if _DEEP_KEY.search(_TEXTS.sub("text", text)):
        raise ValueError(f"a key has more than {DEEPEST_KEY} parts")
    try:
        return tomllib.loads(text)
    except TOMLDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # Python's limit on the digits of an integer
        raise ValueError("a number has too many digits") from error
