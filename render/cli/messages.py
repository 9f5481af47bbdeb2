"""What the program says on standard error."""

import sys

from render.wording import plain


def complain(error: Exception, status: int) -> int:
    print(f"render: {plain(error)}", file=sys.stderr)
    return status


def inform(text: str) -> None:
    print(f"render: {plain(text)}", file=sys.stderr)


def report(problems) -> int:
    for problem in problems:
        complain(problem, 1)
    return 1 if problems else 0
