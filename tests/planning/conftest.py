"""A small study that the planning tests vary."""

from collections.abc import Callable

import pytest

from scaling_sweep.spec import SweepSpec

MakeStudy = Callable[..., SweepSpec]


@pytest.fixture(scope="session")
def study() -> MakeStudy:
    """Return a function that makes a study; its keywords replace keys of the file."""

    def make(
        optimizers: object = ("sgd", "adam"),
        batch_sizes: object = (1, 8, 64),
        lrs: object = (0.1, 0.2, 0.4, 0.8),
        dampings: object = None,
        **changes: object,
    ) -> SweepSpec:
        parameters = {
            "optimizer": {"values": optimizers},
            "batch_size": {"values": batch_sizes},
            "lr": lrs if isinstance(lrs, dict) else {"values": lrs},
            **({} if dampings is None else {"damping": {"values": dampings}}),
        }
        whole = {"name": "t", "task": "digits_mlp", "seeds": 3, "horizon": {"steps": 30}}
        return SweepSpec.model_validate({**whole, "parameters": parameters, **changes})

    return make
