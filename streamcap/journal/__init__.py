"""Where durable messages are committed before anybody sees them, and read again on resume.

``Journal`` is the narrow seam: the hub asks for nothing else. ``MemoryJournal`` forgets everything with the process;
``streamcap.journal.sqlite.SqliteJournal`` keeps it in a file, and is imported by whoever wants one.
"""

from streamcap.journal.base import Bounds, Journal, Mark, Retention, Searchable
from streamcap.journal.memory import MemoryJournal

__all__ = ["Bounds", "Journal", "Mark", "MemoryJournal", "Retention", "Searchable"]
