"""Text from outside, made fit to be printed: what steers a terminal, breaks a line or hides becomes a visible
escape."""

import unicodedata

# Controls, marks that turn the direction of writing or show nothing, lone surrogates, separators of lines.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji need them


def plain(text: object, *, lines: bool = False) -> str:
    r"""Of a file's name, a title, an error or a worker's message, what a person may see of it, on one line.

    A line break becomes \n, an escape sequence \x1b[0m, a byte that is no UTF-8 \xff.
    lines: line breaks and tabs stay, for text whose lines are ours or that has a screen to itself.
    """
    kept = _JOINERS + ("\n\t" if lines else "")
    return "".join(
        _visible(c) if c not in kept and unicodedata.category(c) in _UNSEEN else c for c in str(text)
    )


def _visible(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file's name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
