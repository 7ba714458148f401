"""A GlusterFS of one volume on one brick, on loopback: glusterd, volume and clients are ours, and gone at the end.

The daemon has folders of its own, so one that the machine runs is not touched; but both want port 24007. 127.0.0.2, because
the volume's servers may not be called 127.0.0.1.
"""

import contextlib
import pathlib
import subprocess

from disks import run, unmount
from mounts import LIMIT_SECONDS, gone, is_mounted, wait_for

HOST, VOLUME = "127.0.0.2", "ckptfs-test"
SETTINGS = {
    "transport-type": "socket",
    "transport.socket.listen-port": "24007",
    "transport.socket.bind-address": HOST,
    "transport.address-family": "inet",
    "event-threads": "1",
}


class Gluster:
    """`with Gluster(folder, brick) as gluster`, then `gluster.client(path)`, each as another host would mount it."""

    def __init__(self, folder: pathlib.Path, brick: pathlib.Path):
        self.folder, self.brick, self.process = folder.resolve(), brick.resolve(), None
        self.state, self.socket = self.folder / "state", self.folder / "glusterd.socket"

    def ask(self, *words: str) -> str:
        return run("gluster", f"--glusterd-sock={self.socket}", "--mode=script", *words)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise OSError(f"glusterd ended with status {self.process.returncode}; see {self.folder}/glusterd.log")
        with contextlib.suppress(OSError):
            self.ask("volume", "list")
            return True
        return False

    def __enter__(self) -> "Gluster":
        for folder in (self.folder, self.state, self.brick):
            folder.mkdir(exist_ok=True)
        options = {**SETTINGS, "working-directory": self.state, "run-directory": self.folder / "run",
                   "glusterd-sockfile": self.socket}
        lines = "".join(f"    option {name} {value}\n" for name, value in options.items())
        config = self.folder / "glusterd.vol"
        config.write_text(f"volume management\n    type mgmt/glusterd\n{lines}end-volume\n")
        command = ["glusterd", f"--volfile={config}", "--no-daemon", f"--pid-file={self.folder}/glusterd.pid",
                   f"--log-file={self.folder}/glusterd.log"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        try:
            wait_for("glusterd", self.answers)
            self.ask("volume", "create", VOLUME, "transport", "tcp", f"{HOST}:{self.brick}", "force")
            self.ask("volume", "start", VOLUME)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        try:
            # This ends the process of the brick.
            if VOLUME in self.ask("volume", "list"):
                self.ask("volume", "stop", VOLUME, "force")
                self.ask("volume", "delete", VOLUME)
        finally:
            self.process.terminate()
            self.process.wait(timeout=LIMIT_SECONDS)

    @contextlib.contextmanager
    def client(self, mountpoint: pathlib.Path):
        """The volume at `mountpoint`, by a client process of its own."""
        mountpoint.mkdir(exist_ok=True)
        pid_file = self.folder / f"{mountpoint.name}.pid"
        run("glusterfs", f"--volfile-server={HOST}", f"--volfile-id={VOLUME}", f"--pid-file={pid_file}",
            f"--log-file={self.folder}/{mountpoint.name}.log", mountpoint)
        try:
            wait_for("the volume", lambda: is_mounted(mountpoint))
            pid = int(pid_file.read_text())
            yield mountpoint
        finally:
            unmount(mountpoint)
        wait_for("end of the client", lambda: gone(pid))
