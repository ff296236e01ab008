/** Nodes that answer with something else than what a node answers. */
import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { Membership } from "../../src/mesh/membership.ts";
import { type PeerClient, peerClient } from "../../src/mesh/peer_client.ts";
import { limits, type NodeAnswer, times } from "../../src/mesh/protocol.ts";
import { Pull } from "../../src/mesh/pull.ts";
import { parseCertificates, readPair } from "../../src/pki/x509/inspect.ts";
import { eventually } from "../support/eventually.ts";
import { type Authority, type Issued, makeAuthority } from "../support/openssl.ts";
import { silentLog } from "../support/silent_log.ts";
import { temporaryFolder } from "../support/temporary.ts";

const selfId = "cccccccc-0000-4000-8000-000000000000";
const otherId = "aaaaaaaa-0000-4000-8000-000000000000";

function answer(facts: Partial<NodeAnswer["node"]> = {}): NodeAnswer {
  return {
    node: {
      id: otherId,
      instance: "00000000000000aa",
      name: "other",
      cluster: "lab",
      version: "1",
      addresses: ["10.0.0.1:8765"],
      started_at: 0,
      cpu_count: 1,
      load: 0,
      memory_total: 1,
      memory_available: 1,
      ...facts,
    },
    revision: 1,
    since: null,
    members: [],
  };
}

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

async function badNode(issued: Issued, handle: Handle) {
  const server = createServer({
    cert: await Deno.readTextFile(issued.certFile),
    key: await Deno.readTextFile(issued.keyFile),
  }, handle);
  server.on("error", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function clientOf(ca: Authority): Promise<PeerClient> {
  const { certFile, keyFile } = await ca.issue("self");
  const pem = await Deno.readTextFile(ca.caFile);
  return peerClient({
    pair: await readPair(certFile, keyFile),
    ca: pem,
    roots: parseCertificates(pem, "ca"),
    verifyHostname: false,
  }, systemClock);
}

/** Asks one known member at that address, and returns why that failed. */
async function errorOf(address: string, client: PeerClient): Promise<string> {
  const membership = new Membership({ id: selfId, instance: "0000000000000001" });
  membership.restore([
    { id: otherId, name: "other", addresses: [address], first_seen: Date.now(), last_seen: null },
  ], []);
  const pull = new Pull({
    membership,
    cluster: "lab",
    staticPeers: [],
    addresses: () => ["127.0.0.1:1"],
    client: () => client,
    bearer: undefined,
    clock: systemClock,
    log: silentLog,
  });
  const stop = new AbortController();
  const serving = pull.serve(stop.signal);
  try {
    return await eventually(times.answerMs + 5_000, () => {
      const member = membership.members.get(otherId)!;
      assert.notEqual(membership.reach(member, performance.now()), "reachable");
      return member.error;
    });
  } finally {
    stop.abort();
    await serving;
  }
}

Deno.test("each bad node is shown as what it is, and the process goes on", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path, "ca");
  const foreign = await makeAuthority(folder.path, "foreign");
  const good = await ca.issue("other");
  using client = await clientOf(ca);
  const json = (body: unknown): Handle => (_, response) => response.end(JSON.stringify(body));
  const cases: [name: string, issued: Issued, handle: Handle, says: RegExp][] = [
    ["garbage", good, (_, response) => response.end("garbage"), /not from a node/],
    ["an empty answer", good, (_, response) => response.end(), /not from a node/],
    [
      "deep nesting",
      good,
      (_, response) => response.end("[".repeat(100_000)),
      /not from a node/,
    ],
    ["wrong types", good, json({ ...answer(), revision: "1" }), /not from a node/],
    [
      "an endless list",
      good,
      json({
        ...answer(),
        members: Array.from(
          { length: limits.members * 2 + 1 },
          () => ({ gone: true, id: otherId }),
        ),
      }),
      /not from a node/,
    ],
    ["another cluster", good, json(answer({ cluster: "other" })), /belongs to cluster "other"/],
    ["no cluster", good, json(answer({ cluster: null })), /belongs to no cluster/],
    ["an error", good, (_, response) => response.writeHead(500).end(), /HTTP 500/],
    [
      "a refusal",
      good,
      (_, response) => response.writeHead(401).end('{"detail":"no"}'),
      /refuses this node.*no/,
    ],
    [
      "a redirect",
      good,
      (_, response) => response.writeHead(302, { location: "http://127.0.0.1/" }).end(),
      /HTTP 302/,
    ],
    ["304 out of the blue", good, (_, response) => response.writeHead(304).end(), /HTTP 304/],
    [
      "another id",
      good,
      json(answer({ id: otherId.replaceAll("a", "b") })),
      /Another node answers/,
    ],
    ["no answer", good, () => {}, /No answer within 3 s/],
    ["a trickle", good, (_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(" "), 100);
      response.once("close", () => clearInterval(timer));
    }, /No answer within 3 s/],
    [
      "a foreign CA",
      await foreign.issue("other"),
      json(answer()),
      /not issued by a CA of our bundle/,
    ],
    ["an expired certificate", await ca.issue("expired", { days: -1 }), json(answer()), /expired/],
    [
      "a worker's certificate",
      await ca.issue("worker", {
        names: ["DNS:localhost", "URI:agent:role:worker"],
      }),
      json(answer()),
      /role "worker"/,
    ],
  ];
  for (const [name, issued, handle, says] of cases) {
    await using node = await badNode(issued, handle);
    const error = await errorOf(node.address, client);
    assert.match(error, says, `${name}: ${error}`);
  }
});

/** Time passes only while something sleeps, and the second tick never comes. */
function oneTick(): Clock {
  let now = 0;
  return {
    now: () => systemClock.now(),
    monotonic: () => now,
    sleep: (ms, signal) => {
      if (ms > times.tickMs / 2) return systemClock.sleep(3_600_000, signal);
      now += ms;
      return systemClock.sleep(0, signal);
    },
  };
}

Deno.test("a node whose connection closes is asked at once, and is unreachable if it refuses", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path, "ca");
  using client = await clientOf(ca);
  let asked = 0;
  const node = await badNode(await ca.issue("other"), (_, response) => {
    asked++;
    response.end(JSON.stringify(answer({ addresses: [] })));
  });
  const membership = new Membership({ id: selfId, instance: "0000000000000001" });
  const clock = oneTick();
  const pull = new Pull({
    membership,
    cluster: "lab",
    staticPeers: [node.address],
    addresses: () => ["127.0.0.1:1"],
    client: () => client,
    bearer: undefined,
    clock,
    log: silentLog,
  });
  const stop = new AbortController();
  const serving = pull.serve(stop.signal);
  try {
    const member = await eventually(5_000, () => membership.members.get(otherId));
    await eventually(5_000, () => asked > 1);
    assert.equal(membership.reach(member, clock.monotonic()), "reachable");
    await node[Symbol.asyncDispose]();
    await eventually(
      20_000,
      () => membership.reach(member, clock.monotonic()) === "unreachable",
    );
    assert.match(member.error ?? "", /refused/);
    assert.ok(clock.monotonic() < times.unreachableMs, `after ${clock.monotonic()} ms`);
  } finally {
    stop.abort();
    await serving;
  }
});

Deno.test("an answer of 1 GiB is cut off early, and memory stays bounded", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path, "ca");
  using client = await clientOf(ca);
  let sent = 0;
  await using node = await badNode(await ca.issue("other"), (_, response) => {
    const piece = new Uint8Array(64 * 1024).fill(0x20);
    const write = () => {
      while (sent < 1024 ** 3 && !response.destroyed) {
        sent += piece.length;
        if (!response.write(piece)) return void response.once("drain", write);
      }
      response.end();
    };
    response.on("error", () => {});
    write();
  });
  const before = Deno.memoryUsage().rss;
  assert.match(await errorOf(node.address, client), /longer than 1024 KiB|No answer/);
  assert.ok(sent < 256 * 1024 ** 2, `${sent} bytes were sent`);
  assert.ok(Deno.memoryUsage().rss - before < 200 * 1024 ** 2);
});
