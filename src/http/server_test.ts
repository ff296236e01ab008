import assert from "node:assert/strict";
import { serveProbes } from "./server.ts";

function serving(): AsyncDisposable & { port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = serveProbes(listener, (path) => {
    if (path === "/broken") throw new Error("broken");
    return path === "/ok" ? { status: 200, body: "ök\n" } : { status: 404, body: "no\n" };
  });
  const end = () => {
    listener.close();
    return served;
  };
  return { port: listener.addr.port, [Symbol.asyncDispose]: end };
}

const connect = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

async function say(port: number, text: string): Promise<string> {
  using connection = await connect(port);
  await connection.write(new TextEncoder().encode(text));
  await connection.closeWrite();
  return await new Response(connection.readable).text();
}

Deno.test("a probe gets its answer, whatever it is asked with", async () => {
  await using t = serving();
  const url = `http://127.0.0.1:${t.port}`;
  const cases: [string, RequestInit, number, string][] = [
    ["/ok", {}, 200, "ök\n"],
    ["/ok?a=b", {}, 200, "ök\n"],
    ["/ok", { method: "HEAD" }, 200, ""],
    ["/ok", { method: "POST", body: "x".repeat(100_000) }, 405, "Only GET\n"],
    ["/other", {}, 404, "no\n"],
    ["/broken", {}, 500, "The answer could not be made\n"],
  ];
  for (const [path, init, status, body] of cases) {
    const response = await fetch(url + path, init);
    assert.equal(response.status, status);
    assert.equal(await response.text(), body);
  }
  const odd = ["garbage\r\n\r\n", "GET http://x/ok HTTP/1.1\r\n\r\n", "x".repeat(9_000)];
  for (const text of odd) assert.match(await say(t.port, text), /^HTTP\/1\.1 400 /);
  assert.match(await say(t.port, "GET /ok HTTP/1.0\n\n"), /^HTTP\/1\.1 200 OK\r\n/);
  assert.equal(await say(t.port, "GET /ok HT"), "");
});

Deno.test("who says nothing makes place for who does", async () => {
  await using t = serving();
  const held: Deno.TcpConn[] = [];
  for (let n = 0; n < 200; n++) held.push(await connect(t.port));
  for (const connection of held.slice(0, 10)) {
    await connection.write(new TextEncoder().encode("GET /ok HTTP/1.1\r\n"));
  }
  assert.match(await say(t.port, "GET /ok HTTP/1.1\r\n\r\n"), /200 OK/);
  // The first was hung up on at once, the last once its time is over.
  for (const connection of [held[0]!, held.at(-1)!]) {
    assert.equal(await connection.read(new Uint8Array(1)).catch(() => null), null);
  }
  for (const connection of held) connection.close();
});

Deno.test("an end waits for nobody", async () => {
  const t = serving();
  using _connection = await connect(t.port);
  assert.match(await say(t.port, "GET /ok HTTP/1.1\r\n\r\n"), /200 OK/);
  const before = performance.now();
  await t[Symbol.asyncDispose]();
  assert.ok(performance.now() - before < 2_000);
});
