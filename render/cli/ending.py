"""How a batch ends: its summary on the screen, and the command of --notify."""

from contextlib import contextmanager
from datetime import datetime

from render.cli.messages import complain
from render.errors import RenderError, UsageError
from render.system import interrupts, streams
from render.system.interrupts import INTERRUPTED

IMPATIENT_NOTICE_S = 5.0  # for --notify's command when a person will not wait for the end


@contextmanager
def ending(arguments, summary):
    """However a batch that has begun ends, its summary is printed and --notify's command is run, once."""
    notice = _Notice(arguments, summary, datetime.now().astimezone())
    interrupts.before_an_end_at_once(notice.hurry)
    try:
        try:
            yield
        finally:
            interrupts.hold()  # the report of how the batch ended must not be cut off
    except UsageError:
        raise
    except BaseException as error:  # Ctrl-C too
        _sum_up(arguments, summary, notice, INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
        raise
    _sum_up(arguments, summary, notice, summary.exit_status)


def _sum_up(arguments, summary, notice: "_Notice", status: int) -> None:
    from render.cli import screen

    try:
        screen.print_summary(summary, output=arguments.output, as_json=arguments.json)
    finally:
        notice(status or (1 if streams.lost() else 0))


class _Notice:
    """Runs --notify's command with the summary of a batch, the first time it is called."""

    def __init__(self, arguments, summary, started: datetime):
        self.arguments, self.summary, self.started = arguments, summary, started
        self.sent = False

    def __call__(self, status: int, **how) -> None:
        from render.cli import screen
        from render.cli.notify import notify

        summary, command = self.summary, self.arguments.notify
        if command is None or self.sent or not (summary.done or summary.left or summary.failed):
            return
        self.sent = True
        record = screen.notice_record(
            summary,
            output=self.arguments.output,
            started=self.started,
            exit_status=status,
            interrupted=status == INTERRUPTED,
        )
        try:
            notify(command, record, **how)
        except RenderError as error:
            complain(error, status)

    def hurry(self) -> None:
        """A person will not wait: the command is started, or has been and is ended."""
        from render.cli.notify import end_now

        end_now()
        self(INTERRUPTED, timeout_s=IMPATIENT_NOTICE_S)
