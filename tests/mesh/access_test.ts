/** Every route with every kind of caller, compared with the table of access.ts. */
import assert from "node:assert/strict";
import type { TaskService } from "../../src/tasks/service.ts";
import { type Access, type Route, type RouteFacts, routes } from "../../src/mesh/access.ts";
import { ask, type Asked, nodeApi } from "../support/node_api.ts";
import { type Issued, makeAuthority } from "../support/openssl.ts";
import { temporaryFolder } from "../support/temporary.ts";

const read = (file: string) => Deno.readTextFileSync(file);
const pair = ({ certFile, keyFile }: Issued) => ({ cert: read(certFile), key: read(keyFile) });

/** What each caller may reach. */
const allowed: Record<string, Access[]> = {
  "anonymous": ["open"],
  "a wrong token": ["open"],
  "the token": ["open", "peer", "user"],
  "a session": ["open", "peer", "user"],
  "an ended session": ["open"],
  "a node's certificate": ["open", "peer"],
  "a certificate with the role node": ["open", "peer"],
  "a certificate of a foreign CA": ["open"],
  "an expired certificate": ["open"],
  "a certificate for servers only": ["open"],
  "a certificate with the role worker": ["open"],
  "a certificate with the role client": ["open"],
  "a certificate with a role of the future": ["open"],
  "certificate and token": ["open", "peer", "user"],
  "certificate and a wrong token": ["open", "peer"],
};

Deno.test("every route is open to exactly those callers that the table names", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path, "ca");
  const foreign = await makeAuthority(folder.path, "foreign");
  const names = ["DNS:localhost", "IP:127.0.0.1"];
  const role = (name: string) => ca.issue(name, { names: [...names, `URI:agent:role:${name}`] });
  const server = await ca.issue("server");
  const trusted = read(ca.caFile);
  await using api = await nodeApi({ ...pair(server), ca: trusted });
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
  const session = api.node.sessions.open(api.token)!;
  const cookie = (value: string) => ({ headers: { cookie: `__Host-agent-cccccccc=${value}` } });
  const wrong = bearer("x".repeat(43));
  const callers: Record<string, Asked> = {
    "anonymous": {},
    "a wrong token": wrong,
    "the token": bearer(api.token),
    "a session": cookie(session),
    "an ended session": cookie("y".repeat(43)),
    "a node's certificate": pair(await ca.issue("peer")),
    "a certificate with the role node": pair(await role("node")),
    "a certificate of a foreign CA": pair(await foreign.issue("stranger")),
    "an expired certificate": pair(await ca.issue("expired", { days: -1 })),
    "a certificate for servers only": pair(await ca.issue("servers", { usage: "serverAuth" })),
    "a certificate with the role worker": pair(await role("worker")),
    "a certificate with the role client": pair(await role("client")),
    "a certificate with a role of the future": pair(await role("auditor")),
    "certificate and token": { ...pair(await ca.issue("both")), ...bearer(api.token) },
    "certificate and a wrong token": { ...pair(await ca.issue("wrong")), ...wrong },
  };
  assert.deepEqual(Object.keys(callers), Object.keys(allowed));
  const found: string[] = [];
  for (const [caller, asked] of Object.entries(callers)) {
    for (const [route, { access }] of Object.entries(routes) as [Route, RouteFacts][]) {
      // It would end the session of the next route.
      if (caller === "a session" && route === "DELETE /api/session") continue;
      const [method, pattern] = route.split(" ") as [string, string];
      const path = pattern.replaceAll(/:\w+|\*/g, "x");
      // Wrong tokens are slowed down; that is another test's subject.
      api.node.sessions.waitMs = () => 0;
      const { status, headers, text } = await ask(api.port, path, {
        ...asked,
        method,
        ca: trusted,
      });
      const isOpen = allowed[caller]!.includes(access);
      // To log in, one needs no caller but a token, which is not sent here.
      const isRefused = status === 401 && route !== "POST /api/session";
      if (isOpen === isRefused) found.push(`${caller}: ${route} (${access}) gave ${status}`);
      if (!isRefused) continue;
      assert.equal(headers["www-authenticate"], "Bearer");
      assert.equal(headers["content-type"], "application/problem+json");
      const { detail, next } = JSON.parse(text);
      assert.ok(detail.length > 0 && next.length > 0);
    }
  }
  assert.deepEqual(found, []);
});

Deno.test("a client certificate that does not count is refused with its reason", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path, "ca");
  const foreign = await makeAuthority(folder.path, "foreign");
  const trusted = read(ca.caFile);
  await using api = await nodeApi({ ...pair(await ca.issue("server")), ca: trusted });
  const cases: [Issued, RegExp][] = [
    [await foreign.issue("stranger"), /does not lead to/],
    [await ca.issue("expired", { days: -1 }), /expired/],
    [await ca.issue("servers", { usage: "serverAuth" }), /not for clients/],
    [await ca.issue("w", { names: ["URI:agent:role:worker"] }), /role "worker"/],
  ];
  for (const [issued, reason] of cases) {
    const { status, text } = await ask(api.port, "/api/cluster", { ca: trusted, ...pair(issued) });
    assert.equal(status, 401);
    assert.match(JSON.parse(text).detail, reason);
  }
});

Deno.test("without a bundle no certificate is asked for, and the token alone counts", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path, "ca");
  const trusted = read(ca.caFile);
  await using api = await nodeApi(pair(await ca.issue("server")));
  const peer = { ca: trusted, ...pair(await ca.issue("peer")) };
  assert.equal((await ask(api.port, "/api/cluster/node_local", peer)).status, 401);
  const headers = { authorization: `Bearer ${api.token}` };
  assert.equal(
    (await ask(api.port, "/api/cluster/node_local", { ca: trusted, headers })).status,
    200,
  );
});

Deno.test("the path of an artifact that is not percent-encoded is the caller's mistake", async () => {
  await using api = await nodeApi(undefined, { noAuth: true, tasks: {} as TaskService });
  for (const path of ["%", "%ff", "a/%E0%A4%A"]) {
    const answer = await ask(api.port, `/api/tasks/1/artifacts/${path}`);
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.text, /not percent-encoded/);
  }
});

Deno.test("a path is answered and guarded alike, however it is written", async () => {
  await using api = await nodeApi();
  const user = { headers: { authorization: `Bearer ${api.token}` } };
  for (const path of ["/api/health", "/api/cluster", "/api/cluster/node_local"]) {
    for (const asked of [user, {}, { headers: { host: "elsewhere.test" } }]) {
      const plain = await ask(api.port, path, asked);
      const other = await ask(api.port, `${path}?`, asked);
      const label = `${path} gave ${plain.status}`;
      assert.equal(other.status, plain.status, label);
      for (const name of ["content-type", "cache-control", "x-content-type-options", "etag"]) {
        assert.equal(other.headers[name], plain.headers[name], `${label}: ${name}`);
      }
      const shape = ({ text }: { text: string }) => Object.keys(JSON.parse(text)).sort();
      assert.deepEqual(shape(other), shape(plain), label);
    }
    const head = await ask(api.port, path, { ...user, method: "HEAD" });
    assert.deepEqual([head.status, head.text], [200, ""]);
  }
});

Deno.test("HEAD gets the head of every answer, also of one that is written part by part", async () => {
  const tasks = { listWorkers: () => Promise.resolve([]) } as unknown as TaskService;
  await using api = await nodeApi(undefined, { noAuth: true, tasks });
  for (const path of ["/api/workers", "/api/cluster?links", "/api/openapi.json"]) {
    const { status, headers, text } = await ask(api.port, path, { method: "HEAD" });
    assert.deepEqual([status, headers["content-type"], text], [200, "application/json", ""], path);
  }
  assert.equal((await ask(api.port, "/api/health")).status, 200);
});
