import assert from "node:assert/strict";
import { type ClientRequestArgs, type IncomingMessage } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { eventually, slowness } from "../../tests/support/eventually.ts";
import { makeAuthority } from "../../tests/support/openssl.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { type HttpOptions, serveHttp } from "./server.ts";

const limits = {
  host: "127.0.0.1",
  port: 0,
  setting: "test.port",
  connections: { total: 20, perAddress: 20, pendingMs: 400 },
  idleMs: 300,
  bodyMs: 400,
};

/** For tests that are not about deadlines: a handshake on a busy machine takes longer than those. */
const unhurried = {
  ...limits,
  connections: { ...limits.connections, pendingMs: 30_000 },
  idleMs: 5_000,
};

const handle: HttpOptions["handle"] = (request, response) => {
  const socket = request.socket as Partial<TLSSocket>;
  if (request.method === "POST") {
    let bytes = 0;
    request.on("data", (data: Uint8Array) => bytes += data.length);
    return void request.on("end", () => response.end(String(bytes)));
  }
  response.end(socket.getPeerCertificate?.()?.subject?.CN ?? "nobody");
};

async function material(folder: string) {
  const ca = await makeAuthority(folder, "ca");
  const server = await ca.issue("server");
  const client = await ca.issue("client");
  const read = Deno.readTextFileSync;
  return {
    ca: read(ca.caFile),
    tls: { cert: read(server.certFile), key: read(server.keyFile), ca: read(ca.caFile) },
    client: { cert: read(client.certFile), key: read(client.keyFile) },
  };
}

function ask(options: ClientRequestArgs & Record<string, unknown>) {
  return new Promise<{ text: string; port: number }>((resolve, reject) => {
    secureRequest({ host: "127.0.0.1", ...options }, async (response: IncomingMessage) => {
      const port = response.socket.localPort!;
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve({ text, port });
    }).on("error", reject).end();
  });
}

const connect = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

/** Milliseconds until the other side closes. */
async function closedAfter(connection: Deno.TcpConn): Promise<number> {
  const start = performance.now();
  const buffer = new Uint8Array(1024);
  try {
    while (await connection.read(buffer) !== null);
  } catch {
    // A reset closes it too.
  }
  return performance.now() - start;
}

Deno.test("HTTPS keeps connections, sees client certificates, and explains itself to HTTP", async () => {
  await using folder = await temporaryFolder();
  const { ca, tls, client } = await material(folder.path);
  // A client goes by the whole seconds that the server announces.
  await using server = await serveHttp({ ...unhurried, tls, handle });
  const agent = new SecureAgent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number>();
  for (let n = 0; n < 20; n++) {
    const { text, port } = await ask({ port: server.port, ca, agent, ...client });
    assert.equal(text, "client");
    ports.add(port);
  }
  assert.equal(ports.size, 1);
  agent.destroy();
  const other = new SecureAgent({ keepAlive: false });
  assert.equal((await ask({ port: server.port, ca, agent: other })).text, "nobody");

  const plain = await fetch(`http://127.0.0.1:${server.port}/`);
  assert.equal(plain.status, 400);
  assert.match(await plain.text(), /https:\/\//);
});

Deno.test("later handshakes use the new certificate", async () => {
  await using folder = await temporaryFolder();
  await using next = await temporaryFolder();
  const first = await material(folder.path);
  const second = await material(next.path);
  await using server = await serveHttp({ ...unhurried, tls: first.tls, handle });
  server.setMaterial(second.tls);
  const agent = new SecureAgent({ keepAlive: false });
  const { text } = await ask({ port: server.port, ca: second.ca, agent, ...second.client });
  assert.equal(text, "client");
  await assert.rejects(ask({ port: server.port, ca: first.ca, agent }));
});

Deno.test("client certificates are asked for as soon as there is a CA, and no longer without", async () => {
  await using folder = await temporaryFolder();
  const { tls, ca, client } = await material(folder.path);
  const { ca: _, ...alone } = tls;
  await using server = await serveHttp({ ...unhurried, tls: alone, handle });
  const agent = new SecureAgent({ keepAlive: false });
  const asked = async () => (await ask({ port: server.port, ca, agent, ...client })).text;
  assert.equal(await asked(), "nobody");
  server.setMaterial(tls);
  assert.equal(await asked(), "client");
  assert.equal((await ask({ port: server.port, ca, agent })).text, "nobody");
  server.setMaterial(alone);
  assert.equal(await asked(), "nobody");
});

Deno.test("silent, half-open, trickling and idle connections are closed at their deadlines", async () => {
  await using folder = await temporaryFolder();
  const { ca, tls } = await material(folder.path);
  await using server = await serveHttp({ ...limits, tls, handle });
  await using open = await serveHttp({ ...limits, handle });
  const write = async (port: number, text: string) => {
    const connection = await connect(port);
    await connection.write(new TextEncoder().encode(text));
    return connection;
  };
  const slow = async (connection: Deno.TcpConn, text: string) => {
    try {
      for (const letter of text) {
        await connection.write(new TextEncoder().encode(letter));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    } catch {
      // Closed meanwhile, as it should be.
    }
  };
  const trickling = await connect(open.port);
  const sending = slow(trickling, "GET / HTTP/1.1\r\nhost: trickle\r\nx: ".padEnd(60, "y"));
  const cases = {
    silent: await connect(server.port),
    half: await write(server.port, "\x16\x03\x01"),
    plainSilent: await connect(open.port),
    trickling,
    idle: await write(open.port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
    body: await write(open.port, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab"),
  };
  const times = await Promise.all(
    Object.entries(cases).map(async ([name, connection]) => [name, await closedAfter(connection)]),
  );
  for (const [name, ms] of times) assert.ok(ms as number < 2_500, `${name}: ${ms} ms`);
  await sending;
  for (const connection of Object.values(cases)) connection.close();

  const handshake = connectTls({ host: "127.0.0.1", port: server.port, ca, servername: "x.test" });
  handshake.on("error", () => {});
  await new Promise((resolve) => handshake.once("close", resolve));
});

Deno.test("an honest caller is served beside many silent ones", async () => {
  await using server = await serveHttp({ ...limits, handle });
  const silent = await Promise.all(Array.from({ length: 100 }, () => connect(server.port)));
  const response = await fetch(`http://127.0.0.1:${server.port}/`);
  assert.equal(await response.text(), "nobody");
  for (const connection of silent) connection.close();
});

Deno.test("a stop lets an answer finish and waits for nobody else", async () => {
  const server = await serveHttp({
    ...limits,
    handle: (_, response) => void setTimeout(() => response.end("done"), 300),
  });
  const idle = await connect(server.port);
  const answer = fetch(`http://127.0.0.1:${server.port}/`).then((response) => response.text());
  await new Promise((resolve) => setTimeout(resolve, 100));
  const start = performance.now();
  await server.stop(5_000);
  assert.equal(await answer, "done");
  assert.ok(performance.now() - start < 2_000 * slowness());
  idle.close();
});

Deno.test("a port that is taken is reported with the setting that changes it", async () => {
  await using server = await serveHttp({ ...limits, handle });
  await assert.rejects(
    serveHttp({ ...limits, port: server.port, handle }),
    (error: { next?: string }) => error.next!.includes("test.port"),
  );
});

for (
  const [what, request] of [
    ["that is idle between requests", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"],
    ["whose body does not come", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1"],
  ]
) {
  Deno.test(`a connection ${what} makes room for one that asks`, async () => {
    const heads = Promise.withResolvers<void>();
    let count = 0;
    await using server = await serveHttp({
      ...limits,
      connections: { total: 3, perAddress: 3, pendingMs: 60_000 },
      idleMs: 60_000,
      bodyMs: 60_000,
      handle: (request, response) => {
        if (request.method === "GET") response.end("here");
        if (++count === 3) heads.resolve();
      },
    });
    const held = await Promise.all([1, 2, 3].map(() => connect(server.port)));
    const answers = held.map(async (connection) => {
      await connection.write(new TextEncoder().encode(request));
      if (request!.startsWith("GET")) await connection.read(new Uint8Array(1024));
    });
    await Promise.all([...answers, heads.promise]);
    await eventually(10_000, async () => {
      const answer = await fetch(`http://127.0.0.1:${server.port}/`);
      return await answer.text() === "here";
    });
    held.forEach((connection) => connection.close());
  });
}

Deno.test("a client that offers another protocol is answered in this one", async () => {
  await using server = await serveHttp({ ...limits, handle });
  using connection = await connect(server.port);
  const lines = [
    "GET / HTTP/1.1",
    "host: a",
    "connection: Upgrade, HTTP2-Settings",
    "upgrade: h2c",
    "http2-settings: AAMAAABkAAQAAP__",
  ];
  await connection.write(new TextEncoder().encode(lines.join("\r\n") + "\r\n\r\n"));
  const text = await new Response(connection.readable).text();
  assert.match(text, /^HTTP\/1.1 200 OK/);
  assert.match(text, /nobody/);
});

Deno.test("a request with two Host headers is refused", async () => {
  await using server = await serveHttp({ ...limits, handle });
  using connection = await connect(server.port);
  const head = "GET / HTTP/1.1\r\nHost: one.test\r\nhost: other.test\r\n\r\n";
  await connection.write(new TextEncoder().encode(head));
  const buffer = new Uint8Array(1024);
  const text = new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
  assert.match(text, /^HTTP\/1.1 400 /);
});
