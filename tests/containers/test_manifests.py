"""The manifests of docs/kubernetes: what Kubernetes takes, and run for real by the container engine, word by word."""

import os
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from engine import GONE, REPOSITORY, Ground
from pod import Node, Pod

FOLDER = REPOSITORY / "docs/kubernetes"
MANIFESTS = ["sidecar.yaml", "daemonset.yaml"]
# Native sidecars are on by default since.
OLDEST = (1, 29)
SAVED = "saved 1\nsaved 2\n"


def documents(name: str) -> list[dict]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def pods(name: str) -> list[dict]:
    """The specs of the pods of a manifest, those of templates too, in order."""
    specs = [document.get("spec", {}) for document in documents(name)]
    specs = [spec.get("template", {}).get("spec", spec) for spec in specs]
    return [spec for spec in specs if "containers" in spec]


def versions() -> list[str]:
    """The versions whose schemas are here, from the oldest that the manifests are for."""
    known = [version.split(".")[:2] for version in kubernetes_validate.utils.all_versions()]
    return [".".join(version) for version in known if tuple(map(int, version)) >= OLDEST]


def test_every_manifest_is_tried() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.yaml")) == sorted(MANIFESTS)
    assert len(versions()) >= 5, versions()


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_it(name: str) -> None:
    for document in documents(name):
        for version in versions():
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_only_a_privileged_container_propagates(name: str) -> None:
    """What the API server asks beyond the schema; and nobody else is privileged."""
    for spec in pods(name):
        for one in spec.get("initContainers", []) + spec["containers"]:
            privileged = one.get("securityContext", {}).get("privileged", False)
            ways = [mount.get("mountPropagation") for mount in one["volumeMounts"]]
            assert privileged == ("Bidirectional" in ways), one["name"]


def test_the_sidecar_serves_a_training_and_leaves_nothing_mounted(ground: Ground) -> None:
    (spec,) = pods("sidecar.yaml")
    pod = Pod(Node(ground), spec)
    pod.start()
    trainer = pod.named("trainer")
    assert trainer.ended() == 0 and trainer.said() == SAVED, trainer.said()
    assert pod.healthy("ckptfs")
    # kubelet removes the volume next, which a mount in it would not let it do.
    assert pod.stop("ckptfs") == 0, pod.named("ckptfs").said()
    left = Path(pod.places["shared"]) / "checkpoints"
    assert not os.path.ismount(left) and list(left.iterdir()) == []


def test_a_daemonset_serves_the_pods_of_its_node_over_a_kill_and_a_new_pod(ground: Ground) -> None:
    daemon_spec, training = pods("daemonset.yaml")
    node = Node(ground)
    daemon = Pod(node, daemon_spec)
    daemon.start()
    first = Pod(node, training)
    first.start()
    assert first.named("trainer").ended() == 0 and first.named("trainer").said() == SAVED, first.named("trainer").said()
    # The pod is gone and has left its mount dead; the next one has the same folders and a new container.
    daemon.named("ckptfs").kill()
    with pytest.raises(OSError, match=GONE):
        os.listdir(Path(daemon.places["shared"]) / "checkpoints")
    replaced = Pod(node, daemon_spec)
    replaced.start()
    second = Pod(node, training)
    second.start()
    assert second.named("trainer").ended() == 0, second.named("trainer").said()
    assert second.named("trainer").said() == "saved 3\nsaved 4\n"
    assert replaced.healthy("ckptfs") and replaced.stop("ckptfs") == 0
