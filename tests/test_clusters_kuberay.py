"""The RayJob manifest, field by field: a cluster drops what it does not know without a word."""

import copy
import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaling_sweep.clusters import kuberay_jobs
from scaling_sweep.clusters.kuberay import KubeRayCluster, resource_name, secret_name
from scaling_sweep.clusters.submission import Job, show
from scaling_sweep.errors import UserError

FIELDS = yaml.safe_load((Path(__file__).parent / "rayjob_fields.yaml").read_text())
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?")
JOB = Job("My_Study.1", Path("/s/x.yaml"), "name: x\nseeds: 1\n", "runs/x", (), "1121-020304")
FULL = KubeRayCluster(
    kind="kuberay",
    image="r/i:1",
    ray_version="2.60.0",
    namespace="team",
    claim="sweeps",
    workers={"number": 3, "cpus": 1.5, "gpus": 2, "memory": "4Gi"},
    node_selector={"pool": "gpu"},
)


def mistakes(value: Any, kind: Any, path: str = "") -> list[str]:  # noqa: ANN401
    """Return where a manifest differs from the API: unknown fields and values of another type."""
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{path}: no list"]
        return [m for i, item in enumerate(value) for m in mistakes(item, kind[0], f"{path}[{i}]")]
    if kind in FIELDS:
        if not isinstance(value, Mapping):
            return [f"{path}: no mapping"]
        unknown = [f"{path}.{name}: unknown" for name in value if name not in FIELDS[kind]]
        known = [name for name in value if name in FIELDS[kind]]
        inside = [m for n in known for m in mistakes(value[n], FIELDS[kind][n], f"{path}.{n}")]
        return unknown + inside
    fits: dict[str, Callable[[Any], bool]] = {
        "text": lambda v: isinstance(v, str),
        "whole": lambda v: isinstance(v, int) and not isinstance(v, bool) and v < 2**31,
        "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
        "truth": lambda v: isinstance(v, bool),
        "texts": lambda v: all(isinstance(x, str) for pair in v.items() for x in pair),
        "amounts": lambda v: all(QUANTITY.fullmatch(x) for x in v.values()),
        "anything": lambda v: True,
    }
    return [] if fits[kind](value) else [f"{path}: not {kind}"]


def manifest(cluster: KubeRayCluster = FULL, job: Job = JOB) -> list[dict[str, Any]]:
    """Return the objects as a cluster would read them."""
    return list(yaml.safe_load_all(cluster.manifest(job)))


@pytest.mark.parametrize(
    "cluster",
    [FULL, KubeRayCluster(kind="kuberay", image="i", claim="c", ray_version="2.60.0")],
    ids=["full", "least"],
)
def test_every_field_is_one_of_the_api(cluster: KubeRayCluster) -> None:
    """Nothing in the RayJob is unknown to ray.io/v1 or of another type."""
    _, ray_job = manifest(cluster)

    assert (ray_job["apiVersion"], ray_job["kind"]) == ("ray.io/v1", "RayJob")
    assert mistakes(ray_job, "RayJob") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("shutdownAfterJobFinishes", "shutdownAfterJobFinish"),
        ("ttlSecondsAfterFinished", "ttlSecondsAfterFinish"),
        ("secretKeyRef", "secretRef"),
        ("minReplicas", "minReplica"),
        ("claimName", "claim"),
    ],
)
def test_a_typo_in_a_field_is_found(old: str, new: str) -> None:
    """The description is fine enough to tell a misspelt field wherever it stands."""
    _, ray_job = manifest()
    misspelt = json.loads(json.dumps(ray_job).replace(f'"{old}"', f'"{new}"'))

    assert misspelt != ray_job
    assert any(mistake.endswith(f".{new}: unknown") for mistake in mistakes(misspelt, "RayJob"))


def test_a_value_of_another_type_is_found() -> None:
    """A number where Kubernetes wants text is a mistake too."""
    _, ray_job = manifest()
    wrong = copy.deepcopy(ray_job)
    wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0

    assert mistakes(wrong, "RayJob") == [
        ".spec.rayClusterSpec.headGroupSpec.rayStartParams: not texts"
    ]


def test_a_run_ends_by_itself_and_asks_for_what_the_file_says() -> None:
    """Shutdown, deadline, pods and resources are those of the file."""
    config, ray_job = manifest()
    spec = ray_job["spec"]
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    (pod,) = workers["template"]["spec"]["containers"]

    assert spec["shutdownAfterJobFinishes"] is True
    assert (spec["ttlSecondsAfterFinished"], spec["activeDeadlineSeconds"]) == (600, 86400)
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 3
    assert pod["resources"]["limits"] == {"cpu": "1.5", "memory": "4Gi", "nvidia.com/gpu": "2"}
    assert pod["resources"]["requests"] == pod["resources"]["limits"]
    assert config["data"] == {"x.yaml": JOB.text}
    assert shlex.split(spec["entrypoint"]) == [
        *("scaling-sweep", "run", "/sweep/x.yaml", "--out", "/runs/My_Study.1"),
        *("--cluster", "auto", "--nodes", "4"),
    ]
    assert {thing["metadata"]["namespace"] for thing in (config, ray_job)} == {"team"}


def test_every_pod_takes_the_token_from_the_secret_alone() -> None:
    """Head, workers and submitter are in token mode; the token is in no manifest."""
    _, ray_job = manifest()
    spec = ray_job["spec"]["rayClusterSpec"]
    templates = [
        spec["headGroupSpec"]["template"],
        spec["workerGroupSpecs"][0]["template"],
        ray_job["spec"]["submitterPodTemplate"],
    ]
    for template in templates:
        (container,) = template["spec"]["containers"]
        variables = {entry["name"]: entry for entry in container["env"]}
        assert variables["RAY_AUTH_MODE"]["value"] == "token"
        reference = variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": secret_name(JOB), "key": "auth_token"}
        assert "value" not in variables["RAY_AUTH_TOKEN"]
    secret = json.loads(FULL.secret(JOB, "tok"))
    assert secret["metadata"]["name"] == secret_name(JOB)
    assert secret["stringData"] == {"auth_token": "tok"}


@pytest.mark.parametrize("study", ["a", "My_Study.1", "x" * 200, "...", "UPPER-case_"])
def test_names_are_such_as_kubernetes_takes(study: str) -> None:
    """Whatever a study is called, names are lower case, and RayJob's has at most 47 characters."""
    job = Job(study, JOB.sweep, "", "runs/x", (), JOB.stamp)

    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", resource_name(job))
    assert len(resource_name(job)) <= 47
    assert len(secret_name(job)) <= 63


def test_a_run_folder_must_go_somewhere() -> None:
    """Without a claim and without a URL there is nowhere to write."""
    cluster = KubeRayCluster(kind="kuberay", image="i", ray_version="2.60.0")

    with pytest.raises(UserError, match="claim: missing"):
        show(kuberay_jobs.steps(cluster, JOB))
    to_url = Job(JOB.study, JOB.sweep, JOB.text, "s3://bucket/x", (), JOB.stamp)
    assert "--out s3://bucket/x" in show(kuberay_jobs.steps(cluster, to_url))


def test_what_is_shown_is_the_manifest_and_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--dry-run`` is YAML that kubectl would take, and is what `apply` sends, but for the secret.

    kubectl is replaced by a recorder: this is the one seam where no cluster is needed.
    """
    sent: list[tuple[tuple[str, ...], str]] = []

    def record(*words: str, stdin: str = "") -> str:
        sent.append((words, stdin))
        return ""

    monkeypatch.setattr(kuberay_jobs, "output_of", record)
    shown = show(kuberay_jobs.steps(FULL, JOB))
    kuberay_jobs.apply(FULL, JOB)

    assert list(yaml.safe_load_all(shown)) == manifest()
    (first, secret), (second, objects) = sent
    assert first == second == ("kubectl", "--namespace", "team", "apply", "-f", "-")
    token = json.loads(secret)["stringData"]["auth_token"]
    assert len(token) == 64
    assert token not in shown + objects + " ".join(first)
    assert list(yaml.safe_load_all(objects)) == manifest()


def test_a_job_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are shown as they change, and anything but Complete is an error."""
    states = iter(["", "Initializing", "Running", "Running", "Failed"])
    monkeypatch.setattr(kuberay_jobs, "output_of", lambda *words, stdin="": next(states))
    job, said = kuberay_jobs.AppliedJob(FULL, JOB), []
    state = kuberay_jobs.follow(job, said.append, lambda seconds: None)

    assert [line.split(": ")[1] for line in said] == ["Initializing", "Running", "Failed"]
    with pytest.raises(UserError, match="kubectl --namespace team logs job/"):
        kuberay_jobs.check_end(job, state)
