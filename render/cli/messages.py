"""What the program says on standard error."""

import sys

from render.wording import plain


def complain(error: Exception, status: int) -> int:
    """Prints an error, and returns the exit status that is passed."""
    print(f"render: {plain(error)}", file=sys.stderr)
    return status


def inform(text: str) -> None:
    """Prints a line of information."""
    print(f"render: {plain(text)}", file=sys.stderr)


def report(problems) -> int:
    """Prints every problem, and returns the exit status: 1 where there is one."""
    for problem in problems:
        complain(problem, 1)
    return 1 if problems else 0
