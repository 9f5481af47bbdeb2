"""The program: `render`, or `python -m render`."""

import sys


def main() -> int:
    try:
        from render.system import interrupts

        interrupts.install()  # before anything that takes time
        return _run()
    except KeyboardInterrupt:
        return 130
    finally:
        from render.system import interrupts

        interrupts.ignore()


def _run() -> int:
    from render.system import interrupts, large_pages

    with interrupts.blocked():
        large_pages.restart_with_them()
    from render.cli import main

    return main.main()


if __name__ == "__main__":
    sys.exit(main())
