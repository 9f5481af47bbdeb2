"""What runners work on: the few things that they, the ledger and the screen ask of a piece of work, whether
it is a photograph to be painted (`job.Job`) or a range of samples to be drawn (`gan.shards.Shard`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


@dataclass(frozen=True)
class JobRef:
    """A task as events, messages and JSON records name it: small, and the same in every process."""

    id: str
    """Hash of everything that decides the task's pixels; "" where only a record of it is known."""
    photo: Path
    """What it is made from: the photograph, or the generator's checkpoint."""
    style: str
    """In which manner: the style's name, or the seed and the numbers of the samples."""
    output: Path
    """The file by which the task is known, and which no other task of the batch writes."""

    @property
    def label(self) -> str:
        return f"{self.photo.name} x {self.style}"


class Task(Protocol):
    """A piece of work with files in and files out. Implementations are immutable and can be pickled."""

    @property
    def id(self) -> str:
        """Hash of everything that decides its pixels."""
        ...

    @property
    def ref(self) -> JobRef:
        """Its name in events. Copies made by `with_files` and `moved` keep that of the original."""
        ...

    @property
    def group(self) -> str:
        """Tasks of one group are best done by the same worker."""
        ...

    @property
    def pictures(self) -> int:
        """How many pictures it makes."""
        ...

    @property
    def output(self) -> Path:
        """The last of its products: once it is there, all are."""
        ...

    @property
    def products(self) -> Sequence[Path]:
        """Every file that it writes, in the order in which they are written."""
        ...

    @property
    def storage_id(self) -> str:
        """The name under which unfinished work is stored, if the worker stores any."""
        ...

    @property
    def own_file(self) -> Path | None:
        """A file that it reads and no other task is likely to."""
        ...

    def files(self) -> Sequence[Path]:
        """Every file that it reads."""
        ...

    def facts(self) -> Mapping:
        """What was requested, as JSON."""
        ...

    def with_files(self, local: Callable[[Path], Path]) -> Self:
        """A copy that reads its files elsewhere. local: path -> where that file is on this machine."""
        ...

    @property
    def folder(self) -> Path:
        """The folder that it writes into."""
        ...

    def moved(self, folder: Path) -> Self:
        """A copy that writes its products into another folder."""
        ...
