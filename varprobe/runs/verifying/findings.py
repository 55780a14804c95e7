"""What the verification of a run found."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Finding", "Verification"]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, or that should be known.

    Attributes:
        place: the file, relative to the run's folder.
        text: what is wrong with it, to be read behind the place.
        serious: whether the run is not what it says; the others are notes.
    """

    place: str
    text: str
    serious: bool = True

    def __str__(self) -> str:
        return f"{self.place} {self.text}"


@dataclass
class Verification:
    """What was looked at in a run folder, and what was found.

    Attributes:
        folder: of the run.
        checked: file or kind of file -> how many there are of what, in words.
        findings: in the order in which they were found; empty where all is well.
    """

    folder: Path
    checked: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether the run is what it says; notes do not matter."""
        return not any(finding.serious for finding in self.findings)

    def problem(self, place: str, text: str) -> None:
        """Something is wrong."""
        self.findings.append(Finding(place, text))

    def note(self, place: str, text: str) -> None:
        """Something should be known."""
        self.findings.append(Finding(place, text, serious=False))

    def problems(self, kind: str) -> int:
        """How many serious findings there are about a file, or the files of a folder."""
        return sum(f.serious and (f.place == kind or f.place.startswith(f"{kind}/")) for f in self.findings)

    def __str__(self) -> str:
        state = "intact" if self.intact else "not intact"
        return "\n".join([f"{self.folder}: {state}", *map(str, self.findings)])

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "run": str(self.folder),
            "intact": self.intact,
            "checked": self.checked,
            "findings": [vars(finding) for finding in self.findings],
        }
