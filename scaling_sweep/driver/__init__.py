"""Packs out, rows in: the Ray side of a run.

`packs` sees whether there is room and hands over to Tune (`tuner`), beside the cluster where that
is reached through Ray's client (`relay`). Tune asks which pack is next (`searcher`), trains each
on an actor (`workers`) and says that it has ended (`collector`, `failures`). Before the packs,
machines are asked what they have (`nodes`, `memory`), and the `starts` that packs share are
trained; beside them `curvature` is measured.

Nothing is imported here: a worker takes from this room only what it trains with.
"""
