/** What browsers are made to send by other pages, and how people log in. */
import assert from "node:assert/strict";
import { trustedProxies } from "../../src/mesh/request_facts.ts";
import { ask, nodeApi, notKept } from "../support/node_api.ts";

const json = { "content-type": "application/json" };

Deno.test("a Host header that is not this node's is refused, also with --no-auth", async () => {
  for (const noAuth of [false, true]) {
    await using api = await nodeApi(undefined, { noAuth });
    const cases: [host: string, refused: boolean][] = [
      ["127.0.0.1", false],
      [`127.0.0.1:${api.port}`, false],
      ["10.1.2.3:8765", false],
      ["[::1]:8765", false],
      ["localhost", false],
      ["LOCALHOST:1", false],
      ["node.test", false],
      ["Node.Test.:8765", false],
      ["a.lab.test", false],
      ["a.b.lab.test", true],
      ["lab.test", true],
      ["evil.test", true],
      ["node.test.evil.test", true],
      ["127.0.0.1.evil.test", true],
      ["localhost.evil.test", true],
    ];
    for (const [host, refused] of cases) {
      for (const path of ["/", "/api/health", "/api/session"]) {
        const { status } = await ask(api.port, path, { headers: { host } });
        assert.equal(status === 421, refused, `${host} ${path}: ${status}`);
      }
    }
  }
});

Deno.test("a change from a page of another site is refused, also with --no-auth", async () => {
  for (const noAuth of [false, true]) {
    await using api = await nodeApi(undefined, { noAuth });
    const own = `http://127.0.0.1:${api.port}`;
    const cases: [origin: string | undefined, refused: boolean][] = [
      [undefined, false],
      [own, false],
      ["https://evil.test", true],
      ["null", true],
      [`https://127.0.0.1:${api.port}`, true],
      ["http://127.0.0.1:1", true],
      ["http://localhost", true],
    ];
    for (const [origin, refused] of cases) {
      const headers = {
        ...json,
        authorization: `Bearer ${api.token}`,
        ...(origin === undefined ? {} : { origin }),
      };
      const { status } = await ask(api.port, "/api/session/url", { method: "POST", headers });
      assert.equal(status, refused ? 403 : 200, `${origin}`);
    }
  }
});

Deno.test("a form of another site cannot pose as JSON", async () => {
  await using api = await nodeApi(undefined, { noAuth: true });
  const forms = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
  for (const type of forms) {
    const headers = { "content-type": type };
    const body = '{"argv":["id"]}';
    const { status } = await ask(api.port, "/api/tasks", { method: "POST", headers, body });
    assert.equal(status, 415);
  }
});

Deno.test("a login URL works once, by a page that refreshes itself", async () => {
  await using api = await nodeApi();
  const { token } = api.node.sessions.newLogin(60_000);
  // What only looks at the headers, as some previews of links do, does not use it up.
  const looked = await ask(api.port, `/?token=${token}`, { method: "HEAD" });
  assert.equal(looked.headers["set-cookie"], undefined);
  const first = await ask(api.port, `/?token=${token}`);
  assert.equal(first.status, 200);
  assert.equal(first.headers.refresh, "0; url=/");
  assert.ok(!first.text.includes(token));
  const cookie = String(first.headers["set-cookie"]);
  assert.match(cookie, /^agent-cccccccc=[\w-]{43}; /);
  assert.match(cookie, /HttpOnly; SameSite=Strict/);
  const headers = { cookie: cookie.split(";")[0]! };
  assert.equal((await ask(api.port, "/api/session", { headers })).status, 200);
  const second = await ask(api.port, `/?token=${token}`);
  assert.equal(second.status, 401);
  assert.equal(second.headers["set-cookie"], undefined);
  assert.equal(second.headers["www-authenticate"], "Bearer");

  // Logged out, the cookie is worth nothing.
  const out = await ask(api.port, "/api/session", { method: "DELETE", headers });
  assert.equal(out.status, 204);
  assert.equal((await ask(api.port, "/api/session", { headers })).status, 401);
});

Deno.test("a login URL ends after its time, and the bearer itself is accepted", async () => {
  let now = 0;
  const real = { monotonic: () => now, now: () => now, sleep: () => Promise.resolve() };
  await using api = await nodeApi();
  const sessions = new (await import("../../src/mesh/sessions.ts")).Sessions({
    clock: real,
    token: () => api.token,
    file: notKept,
  });
  const { token } = sessions.newLogin(600_000);
  now = 600_001;
  assert.equal(sessions.open(token), undefined);
  const session = sessions.open(api.token);
  assert.ok(session !== undefined && sessions.isOpen(session));
  now += 7 * 86_400_000 - 1;
  assert.ok(sessions.isOpen(session));
  now += 7 * 86_400_000 + 1;
  assert.ok(!sessions.isOpen(session));
});

Deno.test("guessing is slowed down for the address that guesses, sessions are not", async () => {
  await using api = await nodeApi();
  const session = api.node.sessions.open(api.token)!;
  const wrong = { authorization: `Bearer ${"x".repeat(43)}` };
  const statuses = [];
  for (let n = 0; n < 14; n++) {
    statuses.push((await ask(api.port, "/api/cluster", { headers: wrong })).status);
  }
  assert.deepEqual(statuses.slice(0, 10), Array(10).fill(401));
  const last = await ask(api.port, "/?token=guess");
  assert.equal(last.status, 429);
  assert.ok(Number(last.headers["retry-after"]) > 0);
  const headers = { cookie: `agent-cccccccc=${session}` };
  assert.equal((await ask(api.port, "/api/cluster", { headers })).status, 200);
});

Deno.test("forwarded headers count from a trusted proxy only", async () => {
  const headers = {
    "x-forwarded-for": "203.0.113.9, 127.0.0.1",
    "x-forwarded-host": "public.test",
    "x-forwarded-proto": "https",
    host: "node.test",
  };
  await using plain = await nodeApi();
  await using behind = await nodeApi(undefined, {
    isProxy: trustedProxies(["127.0.0.0/8", "::1"]),
    hostNames: () => ["public.test"],
  });
  const login = async (api: typeof plain) =>
    await ask(api.port, `/?token=${api.node.sessions.newLogin(60_000).token}`, { headers });
  assert.match(String((await login(plain)).headers["set-cookie"]), /^agent-/);
  const secured = await login(behind);
  assert.equal(secured.status, 200);
  assert.match(String(secured.headers["set-cookie"]), /^__Host-agent-cccccccc=.*; Secure/);
  const origin = { ...json, ...headers, origin: "https://public.test" };
  const { status } = await ask(behind.port, "/api/session/url", {
    method: "POST",
    headers: { ...origin, authorization: `Bearer ${behind.token}` },
  });
  assert.equal(status, 200);
});

Deno.test("the OpenAPI document names every route of the table", async () => {
  const { routes } = await import("../../src/mesh/access.ts");
  await using api = await nodeApi();
  const document = JSON.parse((await ask(api.port, "/api/openapi.json")).text);
  const named = Object.entries(document.paths as Record<string, object>).flatMap((
    [path, methods],
  ) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`));
  const wanted = Object.keys(routes).map((route) =>
    route.replace(/\*$/, ":path").replaceAll(/:(\w+)/g, "{$1}")
  );
  assert.deepEqual(named.sort(), wanted.sort());
  // Programs that make clients name a function after each (OpenAPI 3.1, section 4.8.10).
  const ids = Object.values(
    document.paths as Record<string, Record<string, { operationId: string }>>,
  )
    .flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
  assert.equal(new Set(ids).size, wanted.length);
  // The body of a task has exactly the fields that are read.
  const { properties } =
    document.paths["/api/tasks"].post.requestBody.content["application/json"].schema;
  const { readTaskDescription } = await import("../../src/client/task_spec.ts");
  const values: Record<string, unknown> = {
    string: "eA==",
    integer: 1,
    boolean: true,
    array: ["x"],
  };
  for (const [name, { type }] of Object.entries(properties as Record<string, { type: string }>)) {
    // A form's way to give argv, and where the task is submitted to.
    if (["command", "each", "require_match"].includes(name)) continue;
    readTaskDescription({ [name]: values[type] ?? {} });
  }
});

Deno.test("what is not there, too large or malformed is a problem document", async () => {
  await using api = await nodeApi();
  const auth = { authorization: `Bearer ${api.token}` };
  const cases: [path: string, status: number, asked: Parameters<typeof ask>[2]][] = [
    ["/api/nothing", 404, {}],
    ["/nothing", 404, {}],
    ["/api/tasks", 503, { headers: auth }],
    ["/api/cluster?links=some", 400, { headers: auth }],
    ["/api/tasks", 405, { method: "PATCH", headers: auth }],
    ["/api/cluster", 405, { method: "POST", headers: auth }],
    ["/api/tasks/prune?older_than_ms=1&dryrun=true", 400, { method: "POST", headers: auth }],
    ["/api/tasks/prune?older_than_ms=1&older_than_ms=2", 400, { method: "POST", headers: auth }],
    ["/api/session", 400, { method: "POST", headers: json, body: "{" }],
    ["/api/session", 400, { method: "POST", headers: json, body: "[]" }],
    ["/api/session", 413, { method: "POST", headers: json, body: "x".repeat(3_000_000) }],
    ["/api/cluster/nodes/none", 404, { method: "DELETE", headers: auth }],
    ["/api/cluster/peer_session", 404, {
      method: "POST",
      headers: { ...auth, ...json },
      body: '{"node_id":"none"}',
    }],
  ];
  for (const [path, status, asked] of cases) {
    const answer = await ask(api.port, path, asked);
    assert.equal(answer.status, status, `${path}: ${answer.text}`);
    assert.equal(answer.headers["content-type"], "application/problem+json");
    const problem = JSON.parse(answer.text);
    assert.equal(problem.status, status);
    assert.ok(problem.title && problem.detail);
  }
  const { headers } = await ask(api.port, "/api/state/a/b", { method: "POST" });
  assert.equal(headers.allow, "GET, HEAD, PUT, DELETE");
});
