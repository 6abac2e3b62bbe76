"""Text to learn from: the standard library's own sources, or one's own files, as token numbers."""

import importlib.util
import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

# Modules of one file each that Python 3.11 to 3.13 all have as source (none is frozen into the
# interpreter); 2.6 million characters in 3.11. Their text differs from version to version.
STANDARD_MODULES = (
    "argparse", "ast", "bdb", "calendar", "cmd", "configparser", "contextlib", "copy", "csv",
    "dataclasses", "difflib", "doctest", "enum", "fractions", "ftplib", "functools", "gettext",
    "gzip", "heapq", "imaplib", "inspect", "ipaddress", "locale", "mailbox", "mimetypes",
    "optparse", "pdb", "pickle", "pickletools", "platform", "plistlib", "pprint", "random",
    "shutil", "smtplib", "socket", "ssl", "statistics", "subprocess", "tarfile", "tempfile",
    "textwrap", "threading", "tokenize", "traceback", "turtle", "typing", "uuid", "warnings",
    "weakref",
)  # fmt: skip
# A guess: beyond it a text is not small any more; its first characters are taken.
MAX_CHARACTERS = 20_000_000
# Characters beyond the most frequent ones share a token, so that any script works.
_MAX_VOCABULARY = 256
# What stands for them when the text is shown.
OTHER = "\N{REPLACEMENT CHARACTER}"
# Which files of a folder are text; everything else in it is passed over.
TEXT_SUFFIXES = (".txt", ".md", ".rst", ".py", ".c", ".h", ".cpp", ".rs", ".go", ".js", ".tex")


@dataclass(frozen=True)
class Text:
    """A text as numbers.

    Attributes:
        source: What it is, in words.
        tokens: Shape ``[num_characters]``, int64: places in the vocabulary.
        vocabulary: The characters, in order; the last one stands for all rarer ones when there
            are more than 255.
    """

    source: str
    tokens: Tensor
    vocabulary: str

    def decode(self, tokens: Tensor) -> str:
        """Return tokens of shape ``[length]`` as characters.

        Example:
            >>> encode("hello", "a word").decode(torch.tensor([0, 1]))
            'eh'
        """
        return "".join(self.vocabulary[token] for token in tokens.tolist())


def load_text(path: str | None = None, max_characters: int = MAX_CHARACTERS) -> Text:
    """Read the standard library's sources, or a file or folder of one's own.

    Args:
        path: A text file, or a folder whose text files are read in order of their paths; None
            for the sources of ``STANDARD_MODULES`` of the Python that runs.
        max_characters: How much is kept, from the beginning.

    Returns:
        The text, one token per character.

    Raises:
        ValueError: If there is no text there.

    Example:
        >>> load_text(max_characters=10_000).tokens.shape
        torch.Size([10000])
    """
    if path is None:
        text = "\n".join(_source_of(name) for name in STANDARD_MODULES)
        source = (
            f"the sources of {len(STANDARD_MODULES)} modules of "
            f"Python {platform.python_version()}'s standard library"
        )
    else:
        text, source = _read(Path(path).expanduser()), f"the text of {Path(path).name}"
    return encode(text[:max_characters], source)


def encode(text: str, source: str) -> Text:
    """Number the characters of a text.

    Args:
        text: At least two characters.
        source: What it is, in words.

    Returns:
        The text as numbers, in order of code points; beyond 255 different characters the
        rarest share the last number.

    Example:
        >>> encode("hello", "a word").tokens
        tensor([1, 0, 2, 2, 3])
    """
    counts = Counter(text)
    kept = sorted(counts)
    if len(kept) >= _MAX_VOCABULARY:
        frequent = sorted(counts, key=lambda character: (-counts[character], character))
        kept = [*sorted(frequent[: _MAX_VOCABULARY - 1]), OTHER]
    place = {character: number for number, character in enumerate(kept)}
    other = len(kept) - 1
    tokens = torch.tensor([place.get(character, other) for character in text], dtype=torch.int64)
    return Text(source, tokens, "".join(kept))


def _source_of(name: str) -> str:
    """Return the source of a standard module without importing it."""
    spec = importlib.util.find_spec(name)
    get_source = getattr(spec and spec.loader, "get_source", None)
    text = get_source(name) if get_source else None
    if not text:
        raise ValueError(
            f"This Python has no source of its standard module {name}; "
            "give a text of your own, as in text: my_book.txt."
        )
    return str(text)


def _read(path: Path) -> str:
    if path.is_file():
        files = [path]
    else:
        files = sorted(p for p in path.rglob("*") if p.suffix in TEXT_SUFFIXES and p.is_file())
    if not files:
        raise ValueError(
            f"text: there is no file {path}, nor a folder with files that end in "
            f"{', '.join(TEXT_SUFFIXES)}; give the path of a text file."
        )
    return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
