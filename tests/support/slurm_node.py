"""A real SLURM of one node, this machine: its own key, sockets, ports and state, all in a folder.

Debian's packages slurm-wlm and munge. Their daemons are started here as any programs are, need no
configuration outside the folder, and end with the tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confiner_cli.costs.available import available

DAEMONS = ("munged", "slurmctld", "slurmd")
NODE = "node"
CPUS = 2
CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={control_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
JobRequeue=1
KillWait=2
MinJobAge=60
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,default_queue_depth=50
SlurmctldTimeout=60
SlurmdTimeout=60
MaxArraySize={most}
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=tests Nodes={node} Default=YES MaxTime=60 DefMemPerCPU={share} State=UP
"""
MOST = 3
"""The length of an array, which is short here: a longer sweep has several."""


def missing() -> list[str]:
    """The programs that SLURM needs and this machine has not."""
    return [name for name in (*DAEMONS, "sbatch", "setpriv") if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextmanager
def slurm_node() -> Iterator[Path]:
    """In the body SLURM runs, and its programs know of it by `SLURM_CONF`; the folder of its logs.

    All that it has started is gone afterwards: jobs, too.
    """
    # A socket's path is short: pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    daemons: list[subprocess.Popen[bytes]] = []
    before = os.environ.get("SLURM_CONF")
    try:
        _prepare(folder)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        for command in _commands(folder):
            daemons.append(_started(command, folder))
            if command[0].endswith("munged"):
                _wait(lambda: (folder / "munge.socket").exists(), folder, daemons)
        _wait(_is_idle, folder, daemons)
        yield folder
    finally:
        if (folder / "slurm.conf").exists():
            subprocess.run(["scancel", "--full", "--user", _user()], check=False, timeout=20)
            _wait_until(lambda: not queued(), 20)
        for daemon in reversed(daemons):
            _end(daemon)
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)


def queued() -> list[str]:
    """The numbers of the jobs that wait or run, one for each of an array."""
    command = ["squeue", "--noheader", "--array", "--format=%i"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.split()


def hurry(number: str) -> None:
    """Let SLURM start a job again that it has just taken back: by itself it waits two minutes."""
    command = ["squeue", "--noheader", "--states=PENDING", f"--jobs={number}", "--format=%i"]
    if not _wait_until(lambda: subprocess.check_output(command, text=True).strip(), 30):
        raise TimeoutError(f"job {number} is not taken back")
    # In the same second slurmd takes it for the one that it has just ended.
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now+2"], check=True)


def _prepare(folder: Path) -> None:
    folder.chmod(0o755)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir()
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    control_port, node_port = _free_ports(2)
    memory = max(1024, min(available().memory // 2**20, 65536))
    values = {"host": socket.gethostname(), "user": _user(), "folder": folder, "node": NODE}
    ports = {"control_port": control_port, "node_port": node_port}
    sizes = {"cpus": CPUS, "memory": memory, "share": memory // CPUS, "most": MOST}
    (folder / "slurm.conf").write_text(CONFIG.format(**values, **ports, **sizes))


def _commands(folder: Path) -> Iterator[list[str]]:
    munge = [f"--socket={folder}/munge.socket", f"--key-file={folder}/munge/key"]
    more = [f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge/seed"]
    own = ["--foreground", "--force", f"--log-file={folder}/munged.log", "--num-threads=2"]
    yield [str(_program("munged")), *own, *munge, *more]
    yield [str(_program("slurmctld")), "-D", "-c", "-f", str(folder / "slurm.conf")]
    yield [str(_program("slurmd")), "-D", "-c", "-N", NODE, "-f", str(folder / "slurm.conf")]


def _started(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """In a group of its own: a Ctrl-C is the tests', which end it; and it does not outlive them."""
    command = ["setpriv", "--pdeathsig", "TERM", *command]
    output = (folder / f"{Path(command[3]).name}.out").open("ab")
    with output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def _is_idle() -> bool:
    command = ["sinfo", "--noheader", "--format=%T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip() == "idle"


def _wait(ready, folder: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    running = _wait_until(lambda: ready() or any(each.poll() is not None for each in daemons), 60)
    if not running or not ready():
        logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.*")) if _tells(path))
        raise RuntimeError(f"SLURM did not start:\n{logs}")


def _tells(path: Path) -> bool:
    return path.suffix in (".log", ".out")


def _wait_until(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _user() -> str:
    import getpass

    return getpass.getuser()
