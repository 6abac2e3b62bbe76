"""What goes through Tune with a pack, which Tune copies and keeps."""

import copy
import pickle

import pytest

from scaling_sweep.driver.searcher import PackSearcher, Parcel
from scaling_sweep.planning import Search
from tests.run_cases import tiny_packs, tiny_sweep

pytestmark = pytest.mark.ray


def test_all_copies_of_a_parcel_are_empty_when_one_is() -> None:
    """Tune's own copies of a config hold no pack any more; what went to a worker is its own."""
    pack = tiny_packs()[0]
    parcel = Parcel(pack)
    kept, sent = copy.deepcopy({"parcel": parcel}), pickle.dumps(parcel)

    assert parcel.empty() == pack
    with pytest.raises(ValueError, match="returned already"):
        _ = kept["parcel"].pack
    assert pickle.loads(sent).pack == pack


def test_a_pack_is_taken_back_once() -> None:
    """The searcher gives the pack of a trial back when it ends, and nothing the second time."""
    searcher = PackSearcher(Search(tiny_sweep().spec))
    suggested = searcher.suggest("trial")
    assert isinstance(suggested, dict)
    expected = suggested["parcel"].pack

    assert searcher.take_back("trial") == expected
    assert searcher.take_back("trial") is None
