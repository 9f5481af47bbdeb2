"""A runner without a network."""

from render.jobs.events import Done, JobDone, JobFailed, JobStarted, Progress
from render.runners.batch import never


class Painter:
    """A runner that needs no network: writes each job's name as its print. `broken`: jobs that fail;
    `interrupted`: the job during which somebody presses Ctrl-C."""

    workers = 2

    def __init__(self, broken=(), interrupted=None):
        self.broken, self.interrupted = broken, interrupted

    def run(self, jobs, report, stop=never):
        for job in jobs:
            if stop():
                break
            report(JobStarted(job.ref))
            report(Progress(job.ref, 1, 1, (48, 64), 1, 1, 0.5, 1.0))
            if job is self.interrupted:
                raise KeyboardInterrupt
            if job in self.broken:
                report(JobFailed(job.ref, f"{job.photo}: is empty."))
                continue
            job.output.write_text(job.label)
            report(JobDone(job.ref, Done(1.0, len(job.label), 0.5)))
