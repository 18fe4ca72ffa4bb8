"""Key-value memory of the batched generator: preallocated, gathered by row, and attended without copying
grouped heads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

ATTENTION = "intentstore_grouped"


class SlabLayer(CacheLayerMixin):
    """One layer's keys and values in a slab of fixed capacity.

    transformers' own growing cache copies everything at every step; this one writes in place.

    Parameters
    ----------
    capacity : int
        Most token slots of a row.
    dtype : torch dtype, optional
        Of the slab; none = that of the first keys.
    """

    is_sliding = False

    def __init__(self, capacity: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.capacity = capacity
        self.slab_dtype = dtype
        self.used = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the slab in the shape of the first keys and values."""
        rows, heads, _, width = key_states.shape
        self.keys = key_states.new_empty((rows, heads, self.capacity, width), dtype=self.slab_dtype)
        self.values = value_states.new_empty(
            (rows, heads, self.capacity, value_states.shape[-1]), dtype=self.slab_dtype
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new slots and return all used ones, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.used + key_states.shape[2]
        self.keys[:, :, self.used : end] = key_states
        self.values[:, :, self.used : end] = value_states
        self.used = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return keys' length and offset for a query; the generator passes its own masks."""
        return self.used + query_length, 0

    def get_seq_length(self) -> int:
        """Return the slots in use."""
        return self.used

    def get_max_length(self) -> int:
        """Return the capacity."""
        return self.capacity

    def gathered(self, rows: Tensor, capacity: int) -> SlabLayer:
        """Return a new slab that holds copies of the given rows, with another capacity."""
        copy = SlabLayer(capacity, self.slab_dtype)
        shape = (len(rows), self.keys.shape[1], capacity, self.keys.shape[3])
        copy.keys = self.keys.new_empty(shape)
        copy.values = self.values.new_empty((*shape[:3], self.values.shape[3]))
        copy.keys[:, :, : self.used] = self.keys[rows, :, : self.used]
        copy.values[:, :, : self.used] = self.values[rows, :, : self.used]
        copy.used, copy.is_initialized = self.used, True
        return copy


def new_cache(layers: int, capacity: int, dtype: torch.dtype | None = None) -> Cache:
    """Return an empty cache of slabs for a network of so many layers; ``dtype`` as in ``SlabLayer``."""
    return Cache(layers=[SlabLayer(capacity, dtype) for _ in range(layers)])


def gathered(cache: Cache, rows: Tensor, capacity: int) -> Cache:
    """Return a cache with copies of the given rows; ``capacity`` slots a row, the used ones filled."""
    return Cache(layers=[layer.gathered(rows, capacity) for layer in cache.layers])


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend with grouped heads without repeating keys and values.

    The query heads that share a key head become further query rows of it, which is the same arithmetic;
    repeating the keys, as transformers does under a mask, costs more time than the attention.

    Parameters
    ----------
    module : torch module
        The attention layer; only its ``num_key_value_groups`` is looked at, through the shapes.
    query : Tensor, shape (rows, heads, queries, width)
    key, value : Tensor, shape (rows, key heads, slots, width)
        The query is rounded to their type.
    attention_mask : Tensor, bool, shape (rows, 1, queries, slots)
        True where a query may look.
    scaling : float, optional
        Of the scores; none = 1 / sqrt(width).

    Returns
    -------
    Tensor, shape (rows, queries, heads, width), and None for the weights.
    """
    rows, heads, queries, width = query.shape
    groups = heads // key.shape[1]
    folded = query.to(key.dtype).reshape(rows, key.shape[1], groups * queries, width)
    mask = None if attention_mask is None else attention_mask[:, :, :, : key.shape[2]].repeat(1, 1, groups, 1)
    mixed = torch.nn.functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=mask, scale=scaling
    )
    return mixed.reshape(rows, heads, queries, value.shape[-1]).transpose(1, 2).contiguous(), None


def use_grouped_attention(network: Any) -> None:
    """Make a loaded network attend through ``grouped_attention``; the arithmetic stays what it was."""
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

    AttentionInterface.register(ATTENTION, grouped_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, sdpa_mask)
    network.set_attn_implementation(ATTENTION)
