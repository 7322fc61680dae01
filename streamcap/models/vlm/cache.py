"""Keys and values of one answer, in memory that is there before the answer begins, and those of constant prefixes.

transformers' ``DynamicCache`` copies all keys and values for each token; its ``StaticCache`` attends to all its length,
also where nothing stands yet, and cannot take tokens back. Here the memory is laid out once, and a view of its filled
part is handed to attention: a token costs no copy, wrong guesses are taken back by a number, and a prefix stays where
it is from one answer to the next.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

from transformers.cache_utils import Cache, CacheLayerMixin

from streamcap.models.vlm.chat import common

__all__ = ["KeysAndValues", "Prefixes"]

Tensor: TypeAlias = Any  # torch ships types, but they are not read: its installation is optional
Stored: TypeAlias = list[tuple[Tensor, Tensor]]

# Memory is laid out in steps of this many tokens, so that answers of about one length lay it out once.
STEP = 512
# Constant prefixes that are kept, at most: one for each profile and sort of prompt that streams use at a time.
PREFIXES = 4


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # its base is not typed here
    """One layer's keys and values: (1, heads, room, width) each, filled up to ``length``."""

    is_sliding = False
    is_croppable = True

    def __init__(self) -> None:
        super().__init__()
        self.keys: Tensor = None
        self.values: Tensor = None
        self.length = 0
        self.room = 0

    def lay_out(self, room: int) -> None:
        self.length, self.room = 0, room
        self.keys = self.values = None  # given back before new memory is asked for
        self.is_initialized = False

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        batch, heads, _, width = key_states.shape
        self.keys = key_states.new_empty((batch, heads, self.room, width))
        self.values = value_states.new_empty((batch, heads, self.room, value_states.shape[-1]))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.room


class KeysAndValues:
    """The keys and values of all layers.

    Args:
        layers: of the language model.

    Attributes:
        cache: what the model's layers write to and read from.
    """

    def __init__(self, layers: int) -> None:
        self._layers = [_Layer() for _ in range(layers)]
        self.cache = Cache(layers=self._layers)

    @property
    def length(self) -> int:
        """Tokens that stand in it."""
        return self._layers[0].length

    @property
    def nbytes(self) -> int:
        """Bytes that are laid out."""
        return sum(part.nbytes for layer in self._layers if layer.is_initialized for part in (layer.keys, layer.values))

    def reserve(self, tokens: int) -> bool:
        """See that there is room for so many tokens. True where memory was laid out anew, so that it is empty."""
        if tokens <= self._layers[0].room:
            return False
        room = -(-tokens // STEP) * STEP
        for layer in self._layers:
            layer.lay_out(room)
        return True

    def cut(self, length: int) -> None:
        """Forget all tokens but the first ``length``."""
        for layer in self._layers:
            layer.length = length

    def copy(self) -> Stored:
        """What stands in it, as a copy."""
        return [
            (layer.keys[:, :, : layer.length].clone(), layer.values[:, :, : layer.length].clone())
            for layer in self._layers
        ]

    def restore(self, stored: Stored, length: int) -> None:
        """Put in the first ``length`` tokens of what was copied, in place of what stands there; there must be room."""
        self.cut(0)
        for layer, (keys, values) in zip(self._layers, stored, strict=True):
            layer.update(keys[:, :, :length], values[:, :, :length])


class Prefixes:
    """Keys and values of constant prefixes by their tokens; of more than ``most`` the least lately used goes."""

    def __init__(self, most: int = PREFIXES) -> None:
        self._most = most
        self._stored: OrderedDict[tuple[int, ...], Stored] = OrderedDict()

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return sum(part.nbytes for stored in self._stored.values() for pair in stored for part in pair)

    def __contains__(self, tokens: tuple[int, ...]) -> bool:
        return tokens in self._stored

    def longest(self, tokens: tuple[int, ...]) -> tuple[int, Stored]:
        """The prefix that has the most tokens in common with these, at the beginning; how many, and what is kept."""
        best: tuple[int, ...] = ()
        shared = 0
        for key in self._stored:
            if (same := common(key, tokens)) > shared:
                best, shared = key, same
        if not shared:
            return 0, []
        self._stored.move_to_end(best)
        return shared, self._stored[best]

    def put(self, tokens: tuple[int, ...], stored: Stored) -> None:
        """Keep those of a prefix."""
        self._stored[tokens] = stored
        self._stored.move_to_end(tokens)
        while len(self._stored) > self._most:
            self._stored.popitem(last=False)

    def clear(self) -> None:
        """Give the memory back."""
        self._stored.clear()
