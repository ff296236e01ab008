/** Answers of a node are as its OpenAPI document says. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { tempHome } from "../support/home.ts";
import { startServed, token } from "../support/lone_node.ts";

interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema;
  items?: Schema;
  format?: string;
}

interface Operation {
  responses: { "2XX": { content?: Record<string, { schema?: Schema }> } };
}

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

/** What is wrong with a value; undefined: nothing. Fields that the schema does not name are wrong, too. */
function fault(document: Document, schema: Schema, value: unknown, at: string): string | undefined {
  if (schema.$ref !== undefined) {
    const named = document.components.schemas[schema.$ref.split("/").at(-1)!];
    return named === undefined ? `${at}: no ${schema.$ref}` : fault(document, named, value, at);
  }
  if (schema.anyOf !== undefined) {
    const faults = schema.anyOf.map((each) => fault(document, each, value, at));
    return faults.includes(undefined) ? undefined : faults.join("; or ");
  }
  const types = [schema.type ?? []].flat();
  const type = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const isType = types.includes(type) ||
    type === "number" && types.includes("integer") && Number.isInteger(value);
  if (!isType) return `${at}: ${type}, not ${types.join(" or ")}`;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return `${at}: ${value}`;
  if (schema.format === "date-time" && type === "string" && isNaN(Date.parse(value as string))) {
    return `${at}: ${value} is no time`;
  }
  const inside = type === "array"
    ? (value as unknown[]).map((item, i) => fault(document, schema.items!, item, `${at}[${i}]`))
    : type === "object"
    ? [
      ...(schema.required ?? []).filter((name) => !Object.hasOwn(value as object, name))
        .map((name) => `${at}.${name} is missing`),
      ...Object.entries(value as object).map(([name, field]) => {
        const known = schema.properties?.[name] ?? schema.additionalProperties;
        return known === undefined
          ? `${at}.${name} is not described`
          : fault(document, known, field, `${at}.${name}`);
      }),
    ]
    : [];
  return inside.find((each) => each !== undefined);
}

Deno.test("answers of a node are as its OpenAPI document says", async (t) => {
  await using home = await tempHome();
  await using cluster = await startServed(home, { worker: [] });
  const { node } = cluster;
  const ask = (method: string, path: string, body?: unknown) =>
    fetch(`http://${node.address}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token(home)}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const document: Document = await (await ask("GET", "/api/openapi.json")).json();
  const submit = async (task: object): Promise<string> =>
    (await (await ask("POST", "/api/tasks", task)).json()).id;
  const ended = (id: string) =>
    eventually(30_000, async () => {
      const { tasks } = await (await ask("GET", `/api/tasks/${id}`)).json();
      return /succeeded|failed/.test(tasks[0].state);
    });

  const argv = ["sh", "-c", "echo out; printf '\\377' >&2; echo x >kept; exit 3"];
  const id = await submit({ argv, artifacts: ["kept"], retries: 1, timeout_ms: 60_000, cwd: null });
  await ended(id);
  const waits = await submit({ argv: ["true"], selector: { no: "where" }, resources: { gpu: 1 } });
  await (await ask("PUT", "/api/state/ns/key", "value")).body?.cancel();
  const artifacts = { attempt: 2, paths: ["kept"] };
  const answered: [route: string, path: string, body?: unknown][] = [
    ["GET /api/health", "/api/health"],
    ["GET /api/session", "/api/session"],
    ["POST /api/session", "/api/session", { token: token(home) }],
    ["POST /api/session/url", "/api/session/url"],
    ["GET /api/cluster", "/api/cluster"],
    ["GET /api/cluster", "/api/cluster?links=true"],
    ["GET /api/cluster", "/api/cluster?links=false"],
    ["GET /api/cluster", "/api/cluster?links=failing"],
    ["GET /api/tasks", "/api/tasks"],
    ["GET /api/tasks", "/api/tasks?specs=once"],
    ["POST /api/tasks", "/api/tasks", { argv: ["true"], array: "0-2" }],
    ["GET /api/tasks/{id}", `/api/tasks/${id}`],
    ["GET /api/tasks/{id}/logs", `/api/tasks/${id}/logs`],
    ["POST /api/tasks/follow", "/api/tasks/follow", { ids: [id] }],
    ["GET /api/tasks/{id}/artifacts", `/api/tasks/${id}/artifacts`],
    ["POST /api/tasks/{id}/artifacts", `/api/tasks/${id}/artifacts`, artifacts],
    ["POST /api/tasks/{id}/cancel", `/api/tasks/${waits}/cancel`],
    ["POST /api/tasks/{id}/retry", `/api/tasks/${waits}/retry`],
    ["DELETE /api/tasks/{id}", `/api/tasks/${id}`],
    ["POST /api/tasks/prune", "/api/tasks/prune?older_than_ms=1&dry_run=true"],
    ["GET /api/workers", "/api/workers"],
    ["POST /api/workers/{id}/drain", `/api/workers/${await nameOfWorker()}/drain`],
    ["POST /api/workers/{id}/resume", `/api/workers/${await nameOfWorker()}/resume`],
    ["GET /api/state/{ns}", "/api/state/ns"],
    ["GET /api/state/{ns}/{key}", "/api/state/ns/key"],
    ["PUT /api/state/{ns}/{key}", "/api/state/ns/other", "text"],
    ["DELETE /api/state/{ns}/{key}", "/api/state/ns/key"],
    ["DELETE /api/session", "/api/session"],
  ];
  async function nameOfWorker(): Promise<string> {
    return (await (await ask("GET", "/api/workers")).json()).workers[0].id;
  }
  for (const [route, path, body] of answered) {
    await t.step([route, ...path.split("?").slice(1)].join(" with "), async () => {
      const [method, named] = route.split(" ") as [string, string];
      const answer = await ask(method, path, body);
      const text = await answer.text();
      assert.ok(answer.ok, `${answer.status}: ${text}`);
      const { content } = document.paths[named]![method.toLowerCase()]!.responses["2XX"];
      if (content === undefined) return assert.equal(answer.status, 204);
      const [[type, { schema }]] = Object.entries(content) as [[string, { schema?: Schema }]];
      assert.equal(answer.headers.get("content-type")?.split(";")[0], type);
      const documents = type === "application/x-ndjson" ? text.trim().split("\n") : [text];
      for (const each of documents) {
        assert.equal(fault(document, schema!, JSON.parse(each), "answer"), undefined);
      }
    });
  }
  // Between nodes, of a second node, of a lost worker, and what is no JSON.
  const others = [
    ...["GET /api/openapi.json", "GET /api/events", "GET /api/tasks/{id}/artifacts/{path}"],
    ...["GET /api/cluster/node_local", "GET /api/cluster/members_local"],
    ...["POST /api/cluster/session_local", "POST /api/cluster/peer_session"],
    ...["DELETE /api/cluster/nodes/{id}", "POST /api/workers/{id}/forget"],
  ];
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  );
  assert.deepEqual([...new Set(answered.map(([route]) => route)), ...others].sort(), all.sort());
});
