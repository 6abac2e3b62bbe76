"""Where packs train: from the word in CLUSTER=… to a Ray that they can be sent to.

A word means this machine or a Ray that runs (`connecting`), or a place that a whole run is
submitted to (`slurm`, `ray_up`, `kuberay`). What is submitted is rendered first, by functions
that only make text (`submission`), so that it can be shown without being done.
"""

from scaling_sweep.clusters.ahead import entered_ahead
from scaling_sweep.clusters.connecting import Capacity, connected
from scaling_sweep.clusters.words import Place, Site, find_cluster

__all__ = ["Capacity", "Place", "Site", "connected", "entered_ahead", "find_cluster"]
