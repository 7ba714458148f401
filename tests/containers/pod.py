"""Runs a pod of a manifest with the container engine, as kubelet does: volumes, init containers in order, sidecars until
their startup probe succeeds, then the containers; stopping in the order of Kubernetes.

Only what the manifests of docs/kubernetes use is known. Anything else fails, so that nothing in them goes untried.
"""

import time
from pathlib import Path

from engine import MOUNTING, PYTHON, TRAINER, Container, Ground, shown, userland

# What stands for the user's own program in the manifests.
TRAINING = ["python", "train.py", "--output"]
STEPS = "2"
# Of no effect on one machine.
NO_EFFECT = {"restartPolicy", "nodeSelector", "resources", "livenessProbe", "name"}


def known(what: dict, *names: str) -> None:
    """Every field is one that is handled, or has no effect here."""
    strange = set(what) - set(names) - NO_EFFECT
    assert not strange, f"this test does not know {strange} in {what}"


class Node:
    """The folders and volumes of one machine: pods with the same hostPath or claim have the same."""

    def __init__(self, ground: Ground):
        self.ground = ground
        self.folders: dict[str, Path] = {}
        self.claims: dict[str, str] = {}

    def place(self, volume: dict) -> Path | str:
        """The folder or the volume of a pod's volume."""
        known(volume, "emptyDir", "hostPath", "persistentVolumeClaim")
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            if claim not in self.claims:
                self.claims[claim] = self.ground.volume()
            return self.claims[claim]
        if "emptyDir" in volume:
            return self.ground.shared_folder()
        path = volume["hostPath"]["path"]
        if path not in self.folders:
            kind = volume["hostPath"]["type"]
            assert kind == "DirectoryOrCreate", f"{path} is of type {kind}, and no pod before has made it"
            self.folders[path] = self.ground.shared_folder()
        return self.folders[path]


class Pod:
    """A pod that was not started yet."""

    def __init__(self, node: Node, spec: dict):
        known(spec, "terminationGracePeriodSeconds", "initContainers", "containers", "volumes")
        self.ground, self.spec = node.ground, spec
        self.places = {volume["name"]: node.place(volume) for volume in spec["volumes"]}
        self.started: list[tuple[dict, Container]] = []

    def start(self) -> None:
        """Starts all of it."""
        for one in self.spec.get("initContainers", []):
            container = self.launch(one)
            if one.get("restartPolicy") == "Always":
                probed(one["startupProbe"], container)
            else:
                assert container.ended() == 0, f"{one['name']}: {container.said()}"
        for one in self.spec["containers"]:
            container = self.launch(one)
            if "startupProbe" in one:
                probed(one["startupProbe"], container)

    def launch(self, one: dict) -> Container:
        """Starts one container."""
        known(one, "image", "command", "args", "securityContext", "startupProbe", "volumeMounts")
        flags, command = privileges(one.get("securityContext", {})), one.get("command", [])
        for mount in one["volumeMounts"]:
            flags += self.mounted(mount)
        if command[: len(TRAINING)] == TRAINING:
            flags += userland()
            command = [PYTHON, TRAINER, "plain", "train", *command[len(TRAINING) :], STEPS]
        if command:
            flags += ["--entrypoint", command[0]]
        container = self.ground.container(["--no-healthcheck", *flags], command[1:] + one.get("args", []))
        self.started.append((one, container))
        container.start()
        return container

    def mounted(self, mount: dict) -> list[str]:
        """The flags of one volume of a container."""
        known(mount, "mountPath", "readOnly", "mountPropagation")
        place, path = self.places[mount["name"]], mount["mountPath"]
        way = (mount.get("mountPropagation", "None"), mount.get("readOnly", False))
        if way == ("None", False):
            return ["-v", f"{place}:{path}"]
        if way == ("Bidirectional", False):
            return ["--mount", f"type=bind,source={place},target={path},bind-propagation=rshared"]
        assert way == ("HostToContainer", True), f"this test does not know {way}"
        return shown(Path(place), path)

    def named(self, name: str) -> Container:
        """One of its containers."""
        return next(container for one, container in self.started if one["name"] == name)

    def stop(self, name: str) -> int:
        """Ends one of its containers as the end of the pod does; the exit code."""
        return self.named(name).stop(self.spec["terminationGracePeriodSeconds"])

    def healthy(self, name: str) -> bool:
        """Whether the liveness probe of a container succeeds."""
        one = next(one for one, _ in self.started if one["name"] == name)
        return self.named(name).run(*one["livenessProbe"]["exec"]["command"]).returncode == 0


def privileges(context: dict) -> list[str]:
    """The flags of a security context. A privileged container gets what the manifests say that ckptfs uses of it."""
    known(context, "privileged", "runAsUser", "runAsGroup", "allowPrivilegeEscalation", "capabilities")
    flags = list(MOUNTING) if context.get("privileged") else []
    if "runAsUser" in context:
        flags += ["--user", f"{context['runAsUser']}:{context['runAsGroup']}"]
    if not context.get("allowPrivilegeEscalation", True):
        flags += ["--security-opt", "no-new-privileges"]
    return flags + [flag for name in context.get("capabilities", {}).get("drop", []) for flag in ("--cap-drop", name)]


def probed(probe: dict, container: Container) -> None:
    """Waits as a startup probe does."""
    for _ in range(probe["failureThreshold"]):
        if container.run(*probe["exec"]["command"]).returncode == 0:
            return
        assert container.state("{{.State.Running}}") == "true", f"the container ended: {container.said()}"
        time.sleep(min(probe["periodSeconds"], 0.2))
    raise AssertionError(f"the startup probe never succeeds: {container.said()}")
