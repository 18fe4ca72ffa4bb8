"""A text file as whole lines, unpacked, each ended by one newline. Knows nothing of values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from feature_repo.contract.dataset.files.blocks import BLOCK_BYTES, DatasetFolderError
from feature_repo.contract.dataset.files.quotes import MAX_QUOTED_BYTES

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, unpacked where its name ends in one of ``COMPRESSIONS``."""
    stream: BinaryIO = pa.input_stream(str(path), compression=COMPRESSIONS.get(path.suffix))
    return stream


def plain_suffix(path: Path) -> str:
    """Return the extension without that of a compression: ``.csv`` of ``clicks.csv.gz``."""
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


@dataclass
class Lines:
    """A stream as text that ends at line ends, each of them one newline, however the file writes them."""

    stream: BinaryIO
    name: str
    text: bytes = b""
    ended: bool = False
    held: bytes = field(default=b"", repr=False)  # a carriage return whose newline may follow

    def more(self) -> None:
        """Read on; raises when no line ends within a block."""
        chunk = self.stream.read(BLOCK_BYTES)
        while len(chunk) < BLOCK_BYTES and not self.ended:
            more = self.stream.read(BLOCK_BYTES - len(chunk))
            chunk += more
            self.ended = not more
        chunk, self.held = self.held + chunk, b""
        if chunk.endswith(b"\r") and not self.ended:
            chunk, self.held = chunk[:-1], b"\r"
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self.text += chunk
        if self.ended and self.text and not self.text.endswith(b"\n"):
            self.text += b"\n"
        if len(self.text) > BLOCK_BYTES + MAX_QUOTED_BYTES and b"\n" not in self.text:
            raise DatasetFolderError(
                f"{self.name}: a row is longer than {BLOCK_BYTES >> 20} MB; check the file's line ends"
            )

    def whole(self) -> bytes:
        """Return the lines at hand that are complete."""
        return self.text[: self.text.rfind(b"\n") + 1]


def text_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a text file as an editor counts them: without line ends, and without the mark that
    some write before the first.
    """
    with open_bytes(path) as stream:
        lines, first = Lines(stream, path.name), True
        while not lines.ended:
            lines.more()
            text = lines.whole()
            lines.text = lines.text[len(text) :]
            if text:
                plain = text.removeprefix(BYTE_ORDER_MARK) if first else text
                first = False
                yield from plain[:-1].split(b"\n")
