import assert from "node:assert/strict";
import { slowness } from "../../tests/support/eventually.ts";
import { serveProbes } from "./health.ts";

function serving() {
  return serveProbes({ host: "127.0.0.1", port: 0, setting: "x" }, (path) => {
    if (path === "/broken") throw new Error("broken");
    return path === "/ok" ? { status: 200, body: "ök\n" } : { status: 404, body: "no\n" };
  });
}

const connect = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

async function say(port: number, text: string): Promise<string> {
  using connection = await connect(port);
  await connection.write(new TextEncoder().encode(text));
  return await new Response(connection.readable).text();
}

Deno.test("a probe gets its answer, whatever it is asked with", async () => {
  await using t = await serving();
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
  for (const text of ["garbage\r\n\r\n", "x".repeat(9_000) + "\r\n\r\n"]) {
    assert.match(await say(t.port, text), /^HTTP\/1\.1 400 /);
  }
  const large = `GET /ok HTTP/1.1\r\nhost: x\r\na: ${"x".repeat(20_000)}\r\n\r\n`;
  assert.match(await say(t.port, large), /^HTTP\/1\.1 431 /);
  assert.match(await say(t.port, "GET /ok HTTP/1.0\r\nhost: x\r\n\r\n"), /^HTTP\/1\.1 200 OK\r\n/);
});

Deno.test("a caller that sends nothing makes room for one that does", async () => {
  await using t = await serving();
  const held: Deno.TcpConn[] = [];
  for (let n = 0; n < 200; n++) held.push(await connect(t.port));
  for (const connection of held.slice(0, 10)) {
    await connection.write(new TextEncoder().encode("GET /ok HTTP/1.1\r\n"));
  }
  assert.match(await say(t.port, "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n"), /200 OK/);
  // The first was closed at once, the last at its deadline.
  for (const connection of [held[0]!, held.at(-1)!]) {
    assert.equal(await connection.read(new Uint8Array(1)).catch(() => null), null);
  }
  for (const connection of held) connection.close();
});

Deno.test("a stop does not wait for an idle connection", async () => {
  const t = await serving();
  using _connection = await connect(t.port);
  assert.match(await say(t.port, "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n"), /200 OK/);
  const before = performance.now();
  await t[Symbol.asyncDispose]();
  assert.ok(performance.now() - before < 2_000 * slowness());
});
