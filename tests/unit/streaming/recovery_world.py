"""One partition in plain Python: a log, a commit, two output topics and the folders of consumers. Shares only
``recovery.plan`` and its rules with the code.
"""

from dataclasses import dataclass, field

from streaming.consumer import recovery
from streaming.consumer.recovery import Plan, Sent


@dataclass
class Folder:
    """A consumer's disk: next offset, what it is restoring, the outbox, and the offsets that were folded."""

    next: int | None = None
    marks: tuple[int, int] = (0, 0)
    outbox: list[int] = field(default_factory=list)
    folded: list[int] = field(default_factory=list)


class World:
    """Steps of a story; one consumer owns the partition at a time, as the group's protocol has it."""

    def __init__(self, kinds: list[str], shared: dict[str, str], resend_dies: bool) -> None:
        self.kinds, self.shared, self.resend_dies = kinds, shared, resend_dies
        self.folders: dict[str, Folder] = {}
        self.committed: int | None = None
        self.answers: list[int] = []
        self.letters: list[int] = []
        self.owner: str | None = None
        self.plan: Plan | None = None
        self.unsent: list[int] = []  # of the batch that was stored last: in the outbox, not with the broker

    def folder(self, name: str) -> Folder:
        return self.folders.setdefault(self.shared.get(name, name), Folder())

    def start(self, name: str) -> None:
        """The partition comes to a consumer; the one before ended, or hands it over without a commit."""
        if self.owner is not None:
            self.stop(commit=False)
        folder = self.folder(name)
        sent = Sent(max(self.answers, default=-1), max(self.letters, default=-1))
        plan = recovery.plan(
            "clicks-0",
            stored=folder.next,
            committed=self.committed,
            sent=sent,
            beginning=0,
            end=len(self.kinds),
            marks=folder.marks,
        )
        if plan.resend:
            left = [
                offset
                for offset in folder.outbox
                if offset > (sent.answers if self.kinds[offset] == "answer" else sent.letters)
            ]
            if self.resend_dies:
                self.resend_dies = False
                self.send(left, len(left) // 2, len(left) // 3)
                return
            self.send(left, len(left), len(left))
        folder.next, folder.marks = plan.position, (plan.answer_from, plan.letter_from)
        self.owner, self.plan, self.unsent = name, plan, []

    def batch(self, size: int, answers: int, letters: int) -> None:
        """The batch before is taken by the broker; then one is folded, stored, and so many of its messages
        get out for now.
        """
        if self.owner is None or self.plan is None:
            return
        self.flush()
        folder, plan = self.folder(self.owner), self.plan
        assert folder.next is not None
        offsets = range(folder.next, min(folder.next + size, len(self.kinds)))
        floors = {"answer": plan.answer_from, "letter": plan.letter_from, "nothing": len(self.kinds)}
        folder.outbox = [offset for offset in offsets if offset >= floors[self.kinds[offset]]]
        folder.folded += offsets
        folder.next += len(offsets)
        self.unsent = self.send(folder.outbox, answers, letters)

    def send(self, offsets: list[int], answers: int, letters: int) -> list[int]:
        """Give the first few of each kind to the broker; the rest comes back."""
        mine = [offset for offset in offsets if self.kinds[offset] == "answer"]
        poison = [offset for offset in offsets if self.kinds[offset] == "letter"]
        self.answers += mine[:answers]
        self.letters += poison[:letters]
        return sorted(mine[answers:] + poison[letters:])

    def flush(self) -> None:
        self.send(self.unsent, len(self.unsent), len(self.unsent))
        self.unsent = []

    def commit(self) -> None:
        if self.owner is None or self.plan is None:
            return
        self.flush()
        position = self.folder(self.owner).next
        assert position is not None
        if recovery.may_commit(position, self.plan.answer_from, self.plan.letter_from):
            assert position >= (self.committed or 0), "the commit went back"
            self.committed = position

    def kill(self, moment: str) -> None:
        """End at once: before or after the messages under way arrive."""
        if moment == "after":
            self.flush()
        self.owner, self.unsent = None, []

    def stop(self, commit: bool = True) -> None:
        """End properly."""
        self.flush()
        if commit:
            self.commit()
        self.owner = None

    def wipe(self, name: str) -> None:
        """A consumer that does not run loses its disk."""
        if self.owner is None or self.shared.get(self.owner, self.owner) != self.shared.get(name, name):
            self.folders.pop(self.shared.get(name, name), None)

    def finish(self) -> None:
        """Whoever comes last reads to the end."""
        self.resend_dies = False
        self.start("c")
        while self.folder("c").next != len(self.kinds):
            self.batch(5, 5, 5)
        self.stop()

    def states_are_whole(self) -> bool:
        """Whether each folder folded every offset below its own next one, once and in order."""
        return all(one.folded == list(range(one.next or 0)) for one in self.folders.values())
