"""A worker and a client by others: Python, from agent.proto alone.

foreign.py ADDRESS PID runs one task by hand, with calls that break and are resumed, and then
reads its log as a careless client; PID is the coordinator's. What is not as the proto says ends it
with a traceback. The modules that protoc made are looked for in the current folder.
"""

import hashlib
import os
import queue
import socket
import struct
import sys
import threading
import time

import grpc

sys.path.insert(0, os.getcwd())
from agent.v1 import agent_pb2 as pb  # noqa: E402
from agent.v1 import agent_pb2_grpc as services  # noqa: E402

address, pid = sys.argv[1:]


def dial():
    # A connection of its own for each.
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


channel = dial()
worker = services.WorkerServiceStub(channel)
client = services.TaskServiceStub(channel)
state = services.StateServiceStub(channel)


class Call:
    """A call whose messages are sent and awaited one by one."""

    def __init__(self, method, *messages):
        self.requests, self.responses = queue.Queue(), queue.Queue()
        for message in messages:
            self.requests.put(message)
        self.call = method(iter(self.requests.get, None))
        threading.Thread(target=self.receive, daemon=True).start()

    def receive(self):
        try:
            for message in self.call:
                self.responses.put(message)
            self.responses.put(grpc.StatusCode.OK)
        except grpc.RpcError as error:
            self.responses.put(error.code())

    def send(self, *messages):
        for message in messages:
            self.requests.put(message)

    def next(self):
        return self.responses.get(timeout=10)

    def end(self):
        """Says no more; returns the last answer and the status."""
        self.requests.put(None)
        answers = [None]
        while not isinstance(answers[-1], grpc.StatusCode):
            answers.append(self.next())
        return answers[-2], answers[-1]


def now(message):
    message.GetCurrentTime()
    return message


def expect(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


# ---- a session

hello = pb.Hello(
    min_protocol=1,
    max_protocol=9,
    worker_id="foreign",
    instance=os.urandom(8).hex(),
    version="python",
    labels={"made": "elsewhere"},
    slots=1,
)
session = Call(worker.Session, pb.SessionRequest(hello=hello))
welcome = session.next().welcome
expect(welcome.protocol, 1)
session.send(pb.SessionRequest(heartbeat=pb.Heartbeat(sequence=7)))
expect(session.next().heartbeat_ack.sequence, 7)

spec = pb.TaskSpec(argv=["by", "hand"], selector={"made": "elsewhere"}, artifacts=["out/*"])
submitted = client.Submit(pb.SubmitRequest(spec=spec, idempotency_key="once"))
again = client.Submit(pb.SubmitRequest(spec=spec, idempotency_key="once"))
expect((again.id, again.existing), (submitted.id, True))
session.send(pb.SessionRequest(credit=pb.Credit(count=1)))
(assignment,) = session.next().assign.assignments
ref = assignment.ref
expect((ref.task_id, list(assignment.spec.argv)), (submitted.id, ["by", "hand"]))
session.send(pb.SessionRequest(started=pb.Started(ref=ref, at=now(pb.Started().at))))

# ---- what carries another fence is refused

other = pb.AttemptRef(task_id=ref.task_id, attempt=ref.attempt, fence=ref.fence + 1)
expect(Call(worker.UploadLog, pb.UploadLogRequest(ref=other)).next(), grpc.StatusCode.ABORTED)
start = pb.ArtifactStart(ref=other, path="out/x", size=1, mode=0o644)
upload = Call(worker.UploadArtifact, pb.UploadArtifactRequest(start=start))
expect(upload.next(), grpc.StatusCode.ABORTED)

# ---- a log whose call breaks, and goes on from the offsets of the next one

mebibyte = os.urandom(1 << 20)
size = 160 << 20


def out(offset, data):
    return pb.UploadLogRequest(stream=pb.STREAM_STDOUT, offset=offset, data=data)


log = Call(worker.UploadLog, pb.UploadLogRequest(ref=ref))
expect(log.next(), pb.UploadLogResponse())
log.send(out(0, mebibyte))
expect(log.next().stdout_offset, 1 << 20)
log.call.cancel()
log = Call(worker.UploadLog, pb.UploadLogRequest(ref=ref))
expect(log.next().stdout_offset, 1 << 20)
log.send(out((1 << 20) - 5, mebibyte[-5:]))
for offset in range(1 << 20, size, 1 << 20):
    log.send(out(offset, mebibyte))
log.send(pb.UploadLogRequest(stream=pb.STREAM_STDERR, data=b"err"))
log.send(pb.UploadLogRequest(end=pb.LogEnd(stdout_bytes=size, stderr_bytes=3)))
done = pb.UploadLogResponse(stdout_offset=size, stderr_offset=3, complete=True)
expect(log.end(), (done, grpc.StatusCode.OK))

# ---- an artifact likewise, and paths that lead out

for path in ["../x", "/etc/x", "out/../../x", "out\\x", "out/\0", ""]:
    start = pb.ArtifactStart(ref=ref, path=path, size=1, mode=0o644)
    upload = Call(worker.UploadArtifact, pb.UploadArtifactRequest(start=start))
    expect(upload.next(), grpc.StatusCode.INVALID_ARGUMENT)


def chunk(offset, data):
    return pb.UploadArtifactRequest(chunk=pb.ArtifactChunk(offset=offset, data=data))


file = mebibyte + b"end"
start = pb.ArtifactStart(ref=ref, path="out/file", size=len(file), mode=0o640)
upload = Call(worker.UploadArtifact, pb.UploadArtifactRequest(start=start), chunk(0, mebibyte))
expect([upload.next().offset, upload.next().offset], [0, 1 << 20])
upload.call.cancel()
upload = Call(worker.UploadArtifact, pb.UploadArtifactRequest(start=start))
at = upload.next().offset
expect(at, 1 << 20)
end = pb.ArtifactEnd(sha256=hashlib.sha256(file).hexdigest())
upload.send(chunk(at, file[at:]), pb.UploadArtifactRequest(end=end))
expect(upload.end()[0].complete, True)

# ---- the result, which may be said twice

finished = pb.Finished(
    ref=ref,
    state=pb.TASK_STATE_FAILED,
    exit_code=256,
    started_at=now(pb.Finished().started_at),
    finished_at=now(pb.Finished().finished_at),
    stdout_bytes=size,
    stderr_bytes=3,
)
for _ in range(2):
    session.send(pb.SessionRequest(finished=finished))
    expect(session.next().finished_ack, pb.FinishedAck(ref=ref))

# ---- a client that says all it has to say, or nothing, or nonsense, gets a status

read = pb.ReadLogRequest(task_id=ref.task_id, stdout_offset=size - 10)
read.window.bytes = 1 << 20
expect(b"".join(piece.data for piece in client.ReadLog(iter([read]))), mebibyte[-10:] + b"err")
expect(Call(client.ReadLog).end()[1], grpc.StatusCode.OK)
raw = channel.stream_stream("/agent.v1.TaskService/ReadArtifact")
expect(Call(raw, b"\xff\xff\xff").end()[1], grpc.StatusCode.INVALID_ARGUMENT)
state.PutState(pb.PutStateRequest(namespace="n", key="k", if_revision=0))
try:
    state.PutState(pb.PutStateRequest(namespace="n", key="k", if_revision=0))
    raise AssertionError("a conflict was not noticed")
except grpc.RpcError as error:
    expect(error.code(), grpc.StatusCode.ABORTED)
    expect(dict(error.trailing_metadata())["agent-revision"], "1")

# ---- readers that stop reading are waited for, not kept in memory


def resident():
    with open(f"/proc/{pid}/statm") as facts:
        return int(facts.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def read_with_endless_windows(request):
    """HTTP/2 by hand: room for 2 GiB is announced, and no more is read than that it begins."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": address,
        ":path": "/agent.v1.TaskService/ReadLog",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    texts = [text.encode() for field in fields.items() for text in field]
    text = [bytes([len(text)]) + text for text in texts]
    headers = b"".join(b"\0" + name + value for name, value in zip(text[::2], text[1::2]))
    message = request.SerializeToString()
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)))
    connection.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1))
        + frame(8, 0, 0, struct.pack(">I", 2**31 - 65536))
        + frame(1, 4, 1, headers)
        + frame(0, 1, 1, struct.pack(">BI", 0, len(message)) + message)
    )
    connection.settimeout(10)
    answers = b""
    while len(answers) < 1000:
        answers += connection.recv(1000)
    return connection


before = resident()
read = pb.ReadLogRequest(task_id=ref.task_id)
slow = services.TaskServiceStub(dial()).ReadLog(iter([read]))
next(slow)
deaf = read_with_endless_windows(read)
# Kept in memory it would be there by then: it is read at several hundred MiB/s.
time.sleep(1.5)
grown = resident() - before
assert grown < 100, f"the coordinator grew by {grown} MiB for two readers of {size >> 20} MiB"
expect(sum(len(piece.data) for piece in slow) > size - (4 << 20), True)
deaf.close()
print(ref.task_id)
