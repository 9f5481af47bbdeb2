"""Words for people: text from outside made fit to be printed, and the known word that was probably meant."""

import difflib
import unicodedata
from collections.abc import Iterable

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


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """ " Did you mean 'word'?" with the known word that is most like this one, whatever its case; "" when
    none is.

    cutoff: how like, in [0, 1], see difflib.get_close_matches.
    """
    names = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.strip().casefold(), names, n=1, cutoff=cutoff)
    return f" Did you mean '{names[found[0]]}'?" if found else ""


def _visible(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file's name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
