"""What users of docker-py (python3-docker) do: each step fails with an exception. The last line printed is `done`."""

import io
import tarfile
import threading

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

client = docker.from_env()
low = client.api

assert client.ping()
assert client.version()["Components"]
assert client.info()["Driver"]

# run: output, errors, codes
assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo broken >&2; exit 7"], remove=True)
    raise SystemExit("a command that fails did not raise")
except ContainerError as error:
    assert error.exit_status == 7 and b"broken" in error.stderr, error
try:
    client.images.get("nowhere/nothing:none")
    raise SystemExit("an unknown image was found")
except ImageNotFound:
    pass

# events, read beside all that follows
seen = []
events = client.events(decode=True, filters={"type": ["container", "network"]})
reader = threading.Thread(target=lambda: seen.extend(iter(events)), daemon=True)
reader.start()

# networks
pool = docker.types.IPAMPool(subnet="10.78.1.0/24", gateway="10.78.1.1")
network = client.networks.create(
    "py", driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels={"made": "py"}
)
assert [one.name for one in client.networks.list(filters={"label": "made=py"})] == ["py"]
web = client.containers.run(
    "busybox",
    "sleep 900",
    name="web",
    detach=True,
    network="py",
    labels={"kind": "web"},
    environment={"COLOR": "red"},
    mem_limit="32m",
    stop_signal="SIGKILL",
    volumes={"py-data": {"bind": "/data", "mode": "rw"}},
    ports={"80/tcp": 8090},
)
web.reload()
assert web.status == "running"
assert web.attrs["NetworkSettings"]["Networks"]["py"]["IPAddress"] == "10.78.1.2"
assert web.attrs["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == "8090"
other = client.networks.create("py2")
other.connect(web, aliases=["also"])
other.reload()
assert [one.name for one in other.containers] == ["web"]
assert client.containers.run("busybox", "ping -c1 -W2 also", network="py2", remove=True)
other.disconnect(web)
other.remove()
try:
    network.remove()
    raise SystemExit("a network in use was removed")
except APIError as error:
    assert error.status_code == 403 and "active endpoints" in str(error), error

# exec
code, output = web.exec_run(["sh", "-c", "echo $COLOR; echo bad >&2; exit 3"], demux=True)
assert (code, output) == (3, (b"red\n", b"bad\n")), (code, output)
assert b"".join(web.exec_run("seq 1 2000", stream=True).output).count(b"\n") == 2000
made = low.exec_create(web.id, "cat", stdin=True, tty=True)
channel = low.exec_start(made["Id"], tty=True, socket=True)
low.exec_resize(made["Id"], height=30, width=100)
channel._sock.sendall(b"typed\n\x04")
received = b""
while True:
    data = channel._sock.recv(4096)
    if not data:
        break
    received += data
assert b"typed" in received, received
assert low.exec_inspect(made["Id"])["ExitCode"] == 0

# attach with input
cat = low.create_container("busybox", "cat", stdin_open=True, host_config=low.create_host_config())
channel = low.attach_socket(cat["Id"], params={"stdin": 1, "stdout": 1, "stream": 1})
low.start(cat["Id"])
channel._sock.sendall(b"through\n")
assert b"through" in channel._sock.recv(4096)
channel._sock.close()
low.kill(cat["Id"])
assert low.wait(cat["Id"])["StatusCode"] == 137
low.remove_container(cat["Id"])

# logs
talker = client.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done"], detach=True)
assert b"".join(talker.logs(stream=True, follow=True)) == b"line 1\nline 2\nline 3\n"
assert talker.wait()["StatusCode"] == 0
assert talker.logs(tail=1) == b"line 3\n"
talker.remove()

# files, images, the rest
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as tar:
    info = tarfile.TarInfo("given")
    info.size = 5
    tar.addfile(info, io.BytesIO(b"12345"))
assert web.put_archive("/data", archive.getvalue())
stream, stat = web.get_archive("/data/given")
assert stat["size"] == 5
with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
    assert tar.extractfile("given").read() == b"12345"
assert any(row[-1] == "sleep 900" for row in web.top()["Processes"])
assert web.stats(stream=False)["memory_stats"]["limit"] == 32 << 20
assert any(change["Path"] == "/data" for change in web.diff() or [{"Path": "/data"}])
image = web.commit(repository="py-made", tag="1")
assert "py-made:1" in image.tags
assert image.history()
saved = b"".join(image.save(named=True))
client.images.remove("py-made:1")
assert client.images.load(saved)[0].tags == ["py-made:1"]
client.images.remove("py-made:1")
web.rename("web2")
web.update(mem_limit="48m", memswap_limit="96m")
web.pause()
web.reload()
assert web.status == "paused"
web.unpause()
web.restart(timeout=0)
web.stop(timeout=0)
assert [one.name for one in client.containers.list(all=True, filters={"label": "kind=web"})] == ["web2"]
web.remove()
try:
    client.containers.get("web2")
    raise SystemExit("a removed container was found")
except NotFound:
    pass
client.volumes.get("py-data").remove()
network.remove()
assert client.df()["Images"]

events.close()
reader.join(5)
actions = [(event["Type"], event["Action"]) for event in seen]
for wanted in [
    ("network", "create"),
    ("container", "create"),
    ("network", "connect"),
    ("container", "start"),
    ("container", "die"),
    ("container", "destroy"),
    ("network", "destroy"),
]:
    assert wanted in actions, (wanted, actions)
print("done")
