"""Many texts looked for in one: each found by three of its characters, so that hundreds cost little more than ten."""

from __future__ import annotations

_GRAM = 3


class Needles:
    """Texts to look for, each with its bits."""

    def __init__(self) -> None:
        self._all: dict[str, int] = {}
        self._short: list[tuple[str, int]] = []
        self._by_gram: dict[str, list[tuple[str, int]]] = {}
        self._ready = False

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._all)

    def add(self, text: str, bit: int) -> None:
        """Look for this text too."""
        self._all[text] = self._all.get(text, 0) | bit
        self._ready = False

    def find(self, text: str) -> int:
        """Bits of all that `text` contains."""
        found = 0
        if len(self._all) <= 2 * len(text):  # looking for each takes no longer than cutting the text up
            for needle, bit in self._all.items():
                if needle in text:
                    found |= bit
            return found
        if not self._ready:
            self._index()
        for needle, bit in self._short:
            if needle in text:
                found |= bit
        grams = {text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)}
        for gram in grams & self._by_gram.keys():
            for needle, bit in self._by_gram[gram]:
                if needle in text:
                    found |= bit
        return found

    def _index(self) -> None:
        """Put each text under the one of its grams that has the fewest: many may begin alike."""
        self._ready = True
        self._short = [(needle, bit) for needle, bit in self._all.items() if len(needle) < _GRAM]
        self._by_gram = {}
        for needle, bit in self._all.items():
            grams = [needle[at : at + _GRAM] for at in range(len(needle) - _GRAM + 1)]
            if grams:
                gram = min(grams, key=lambda part: len(self._by_gram.get(part, ())))
                self._by_gram.setdefault(gram, []).append((needle, bit))
