"""Community ids and flow hashes of many conversations at once equal those made one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.protocols.addresses import MAPPED, address_bytes
from imapids.protocols.identifiers import community_id, community_ids, flow_hash, flow_hashes

addresses = st.one_of(st.integers(0, 2**32 - 1).map(lambda low: (0, MAPPED | low)),
                      st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)))
ends = st.tuples(addresses, st.integers(0, 65_535))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([6, 17]), ends, ends), max_size=12))
def test_columns_of_conversations_have_the_ids_of_each(flows: list[tuple[int, tuple, tuple]]) -> None:
    pairs = [(protocol, *sorted((one, two))) for protocol, one, two in flows]
    a = tuple(np.array([low[0][half] for _, low, _ in pairs], np.uint64) for half in (0, 1))
    b = tuple(np.array([high[0][half] for _, _, high in pairs], np.uint64) for half in (0, 1))
    ids = community_ids(np.array([protocol for protocol, _, _ in pairs], np.uint8), a,
                        np.array([low[1] for _, low, _ in pairs], np.uint16), b,
                        np.array([high[1] for _, _, high in pairs], np.uint16))
    assert ids == [community_id(protocol, address_bytes(*one[0]), one[1], address_bytes(*two[0]), two[1])
                   for protocol, one, two in flows]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=9))
def test_hashes_of_many_keys_are_those_of_each(keys: list[bytes]) -> None:
    assert flow_hashes(keys) == [flow_hash(key) for key in keys]
