"""Tables of the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells as texts; the first column names the rows, the others are figures.

    Attributes:
        head: of each column, with its unit.
        rows: as many cells as `head`.
        note: what one has to know to read it.
        strong: number of the row that stands out; None: none does.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    strong: int | None = None

    def without_empty_columns(self, empty: str) -> Table:
        """Without the columns in which every cell is `empty`."""
        kept = [
            column
            for column in range(len(self.head))
            if column == 0 or any(row[column] != empty for row in self.rows)
        ]
        return Table(
            tuple(self.head[column] for column in kept),
            tuple(tuple(row[column] for column in kept) for row in self.rows),
            self.note,
            self.strong,
        )
