"""The program: `render`, or `python -m render`."""

import sys


def main() -> int:
    from render import interrupts

    interrupts.install()  # before anything that takes time
    try:
        from render import large_pages

        large_pages.begin_again_with_them()
        from render import cli

        return cli.main()
    except KeyboardInterrupt:
        return interrupts.INTERRUPTED
    finally:
        interrupts.ignore()


if __name__ == "__main__":
    sys.exit(main())
