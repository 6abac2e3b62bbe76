"""Kubernetes: a cluster file of kind `kuberay`, and the RayJob manifest made from it."""

import json
import shlex
from importlib.metadata import version
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from scaling_sweep.clusters.submission import Job
from scaling_sweep.clusters.worker_environment import QUIET, WORKER_ENVIRONMENT
from scaling_sweep.spec.section import NUMBER, TEXT, WHOLE, Section

_Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=63), TEXT]
_Memory = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(Mi|Gi|Ti|M|G|T)$"), TEXT]
_Cores = Annotated[float, Field(gt=0, le=10_000), NUMBER]
_Seconds = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]
# Where pods see the sweep file and the claim.
_SWEEP_FOLDER, _RUN_FOLDER = "/sweep", "/runs"
_TOKEN_KEY = "auth_token"  # KubeRay's own name for it


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as lines."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the text as YAML, as a block where it has lines."""
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out."""
        return True


_Dumper.add_representer(str, _Dumper.represent_text)


class Pod(Section):
    """What one pod asks for, and is limited to."""

    cpus: _Cores = Field(2.0, examples=[2])
    """Cores."""

    memory: _Memory = Field("8Gi", examples=["8Gi"])
    """Memory."""


class Workers(Section):
    """The pods that train."""

    number: Annotated[int, Field(ge=1, le=10_000), WHOLE] = Field(1, examples=[2])
    """How many."""

    cpus: _Cores = Field(4.0, examples=[4])
    """Cores of each."""

    gpus: Annotated[int, Field(ge=0, le=64), WHOLE] = 0
    """GPUs of each."""

    memory: _Memory = Field("16Gi", examples=["16Gi"])
    """Memory of each."""


class KubeRayCluster(Section):
    """A cluster file of kind `kuberay`: a Ray for one run, gone when it is finished.

    The KubeRay operator must be installed. The driver runs beside Ray's head and writes the run
    folder to a volume claim, or to a URL given as `--out`.
    """

    kind: Literal["kuberay"] = Field(examples=["kuberay"])
    """Says which kind of file this is."""

    image: Annotated[str, Field(pattern=r"^[\w./:@-]+$"), TEXT] = Field(
        examples=["registry.example.org/scaling-sweep:0.1.0"]
    )
    """Container image with scaling-sweep[train] and Ray in it."""

    ray_version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$"), TEXT] | None = None
    """Ray's version in the image; without it, the one installed here."""

    namespace: _Name | None = None
    """Namespace; without it, that of kubectl's context."""

    claim: _Name | None = Field(None, examples=["sweeps"])
    """Persistent volume claim for the run folder; needed unless --out is a URL."""

    head: Pod = Pod()
    """The pod of Ray's head and the driver; it trains nothing."""

    workers: Workers = Workers()
    """The pods that train."""

    gpu_resource: Annotated[str, Field(pattern=r"^[\w./-]+$"), TEXT] = "nvidia.com/gpu"
    """What the cluster calls a GPU."""

    node_selector: dict[str, str] = Field(default={}, examples=[{"pool": "gpu"}])
    """Labels of the nodes that may run the pods."""

    keep_s: _Seconds = 600
    """Seconds that the pods stay after the run, for their logs."""

    deadline_s: _Seconds = 86_400
    """Seconds after which the run is ended; run again to go on."""

    def manifest(self, job: Job) -> str:
        """Return the sweep file as a ConfigMap, and the RayJob; YAML with two documents.

        Args:
            job: The run.

        Returns:
            Text for ``kubectl apply``. The token is not in it: pods take it from the secret that
            `secret` makes.
        """
        objects = (self._sweep(job), self.ray_job(job))
        return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=100)

    def secret(self, job: Job, token: str) -> str:
        """Return the secret that holds the token, for kubectl's standard input and nothing else.

        Args:
            job: The run.
            token: The token.

        Returns:
            JSON, which is YAML too.
        """
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": self._metadata(job, secret_name(job)),
                "type": "Opaque",
                "stringData": {_TOKEN_KEY: token},
            }
        )

    def ray_job(self, job: Job) -> dict[str, Any]:
        """Return the RayJob as plain data.

        Args:
            job: The run.

        Returns:
            An object of ray.io/v1; a test holds every field against the API, because a cluster
            drops unknown ones without a word.
        """
        sweep = f"{_SWEEP_FOLDER}/{job.sweep.name}"
        out = job.out if job.is_url else f"{_RUN_FOLDER}/{job.study}"
        command = job.command(sweep, out, "auto", self.workers.number + 1)
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": self._metadata(job, resource_name(job)),
            "spec": {
                "entrypoint": shlex.join(command),
                "submissionMode": "K8sJobMode",
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": self.keep_s,
                "activeDeadlineSeconds": self.deadline_s,
                # A retry is ours to ask for: a run resumes from what is finished.
                "backoffLimit": 0,
                "submitterPodTemplate": {"spec": self._submitter(job)},
                "rayClusterSpec": self._ray_cluster(job),
            },
        }

    def _ray_cluster(self, job: Job) -> dict[str, Any]:
        return {
            "rayVersion": self.ray_version or version("ray"),
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
                "template": {"spec": self._head(job)},
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": self.workers.number,
                    "minReplicas": self.workers.number,
                    "maxReplicas": self.workers.number,
                    "rayStartParams": {},
                    "template": {"spec": self._worker(job)},
                }
            ],
        }

    def _head(self, job: Job) -> dict[str, Any]:
        container = self._container(job, "ray-head", _resources(self.head.cpus, self.head.memory))
        volumes = [{"name": "sweep", "configMap": {"name": resource_name(job)}}]
        mounts = [{"name": "sweep", "mountPath": _SWEEP_FOLDER, "readOnly": True}]
        if self.claim is not None:
            volumes.append({"name": "runs", "persistentVolumeClaim": {"claimName": self.claim}})
            mounts.append({"name": "runs", "mountPath": _RUN_FOLDER})
        return self._pod({**container, "volumeMounts": mounts}, {"volumes": volumes})

    def _worker(self, job: Job) -> dict[str, Any]:
        workers = self.workers
        more = {self.gpu_resource: str(workers.gpus)} if workers.gpus else {}
        resources = _resources(workers.cpus, workers.memory, more)
        return self._pod(self._container(job, "ray-worker", resources))

    def _submitter(self, job: Job) -> dict[str, Any]:
        resources = _resources(0.5, "500Mi")
        container = self._container(job, "ray-job-submitter", resources)
        return self._pod(container, {"restartPolicy": "Never"})

    def _pod(self, container: dict[str, Any], more: dict[str, Any] | None = None) -> dict[str, Any]:
        where = {"nodeSelector": dict(self.node_selector)} if self.node_selector else {}
        return {**where, **(more or {}), "containers": [container]}

    def _container(self, job: Job, name: str, resources: dict[str, Any]) -> dict[str, Any]:
        """Return a container that knows the token from the secret only.

        The token goes in as environment variables and not as `authOptions`: an operator older
        than 1.5.1 would drop that field, and the cluster would be open.
        """
        token = {"secretKeyRef": {"name": secret_name(job), "key": _TOKEN_KEY}}
        plain = {"RAY_AUTH_MODE": "token", **WORKER_ENVIRONMENT, **QUIET}
        environment = [{"name": name, "value": value} for name, value in plain.items()]
        return {
            "name": name,
            "image": self.image,
            "resources": resources,
            "env": [*environment, {"name": "RAY_AUTH_TOKEN", "valueFrom": token}],
        }

    def _sweep(self, job: Job) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self._metadata(job, resource_name(job)),
            "data": {job.sweep.name: job.text},
        }

    def _metadata(self, job: Job, name: str) -> dict[str, Any]:
        where = {"namespace": self.namespace} if self.namespace else {}
        return {"name": name, **where, "labels": {"app.kubernetes.io/name": "scaling-sweep"}}


def resource_name(job: Job) -> str:
    """Return what the RayJob and the ConfigMap are called.

    Args:
        job: The run.

    Returns:
        At most 47 characters, which is what KubeRay allows.
    """
    return f"{job.name}-{job.stamp}"


def secret_name(job: Job) -> str:
    """Return what the secret is called.

    Args:
        job: The run.

    Returns:
        A name beside the RayJob's.
    """
    return f"{resource_name(job)}-token"


def _resources(cpus: float, memory: str, more: dict[str, str] | None = None) -> dict[str, Any]:
    """Return requests that equal the limits: what a pod has is what Ray counts on."""
    amounts = {"cpu": f"{cpus:g}", "memory": memory, **(more or {})}
    return {"requests": amounts, "limits": dict(amounts)}
