/** The API as an OpenAPI document, made from the table of routes. */
import { limits } from "../../tasks/limits.ts";
import { type Route, type RouteFacts, routes } from "../access.ts";
import { answers, answerSchemas } from "./answers.ts";

const json = "application/json";

interface Details {
  query?: Record<string, object>;
  /** Schema of the body. */
  body?: object;
  /** Its content type, where it is not JSON. */
  takes?: string;
  /** Content type of the answer, where it is not JSON. */
  type?: string;
}

const text = (description: string) => ({ type: "string", description });
const integer = (description: string) => ({ type: "integer", minimum: 0, description });
const bool = (description: string) => ({ type: "boolean", description });
const texts = (description: string) => ({ type: "array", items: { type: "string" }, description });
const pairs = (description: string) => ({
  type: "object",
  additionalProperties: { type: "string" },
  description,
});
const object = (properties: Record<string, object>, ...required: string[]) => ({
  type: "object",
  properties,
  required,
});

const attempt = integer("The number of an attempt; the newest without it");
const ifRevision = integer("Only at this revision; 0: only if there is no such key");

const specs = {
  ...text("once: null in place of a spec that is that of the task before, as in an array"),
  enum: ["each", "once"],
};

/** Parameters and bodies beyond what the table of routes says. */
const details: Partial<Record<Route, Details>> = {
  "POST /api/session": { body: object({ token: text("Bearer or login token") }, "token") },
  "POST /api/cluster/peer_session": { body: object({ node_id: text("Of that node") }, "node_id") },
  "GET /api/cluster": {
    query: {
      links: {
        ...text(
          "true, as without it: each connection between two nodes; false: none; failing: those " +
            "that fail, and for each node how many work",
        ),
        enum: ["true", "false", "failing"],
      },
    },
  },
  "GET /api/tasks": {
    query: {
      state: text("States, separated by commas"),
      submitter: text("Only those of this name or certificate fingerprint"),
      limit: integer("At most this many, up to 1,000; 100 without it"),
      before: text("Only tasks older than this id"),
      array: text("Only elements of this array, whatever limit and before say"),
      specs,
    },
  },
  "POST /api/tasks": {
    body: object({
      argv: texts("The program and its arguments"),
      command: text("In place of argv, with shell: one line for /bin/sh"),
      shell: bool("argv is one line for /bin/sh"),
      env: pairs("Variables"),
      cwd: text("Absolute folder on the worker; without it the task gets its own"),
      selector: pairs("Labels that the worker must have"),
      timeout_ms: integer("Limit of one attempt"),
      retries: integer("Further attempts after one that failed or timed out"),
      retry_delay_ms: integer("Wait before each of them"),
      max_lost: integer("Further attempts after one that was lost with its worker"),
      lost_after_ms: integer(
        "How long its worker may be out of touch before an attempt is lost; 0: for ever",
      ),
      no_requeue: bool("A lost attempt ends the task as lost"),
      artifacts: texts("Globs of files to keep, relative to the task's folder"),
      array: text("0-9: a task for each number; %20 after it: at most 20 at once"),
      lines: texts("In place of array: a task for each line, which is its AGENT_LINE"),
      resources: {
        type: "object",
        additionalProperties: { type: "integer", minimum: 0 },
        description: "What the task has for itself while it runs",
      },
      stdin_base64: { ...text("Standard input, up to 1 MiB"), contentEncoding: "base64" },
      each: bool("Once for every worker that matches, is connected and not drained"),
      require_match: bool("Only if there is a worker, connected or not, with these labels"),
      idempotency_key: text("A second submit with the same key is the first one"),
    }),
  },
  "POST /api/tasks/prune": {
    query: {
      older_than_ms: integer("Age since the end of a task"),
      state: text("Only these states, separated by commas"),
      dry_run: bool("Remove nothing, only count"),
    },
  },
  "POST /api/tasks/follow": {
    body: object(
      {
        ids: texts("Tasks, and arrays for all of their elements"),
        positions: {
          type: "array",
          items: object(
            {
              task_id: text("Of this task"),
              attempt: integer("In this attempt"),
              stdout_offset: integer("The next byte"),
              stderr_offset: integer("The next byte"),
            },
            "task_id",
            "attempt",
          ),
          description: "Where the reader stands; in the other tasks at the beginning",
        },
      },
      "ids",
    ),
    type: "application/x-ndjson",
  },
  "GET /api/tasks/:id": { query: { specs } },
  "POST /api/tasks/:id/cancel": { query: { specs } },
  "POST /api/tasks/:id/retry": { query: { specs } },
  "DELETE /api/tasks/:id": { query: { specs } },
  "GET /api/tasks/:id/logs": {
    query: {
      attempt,
      follow: bool("Stay until the task ends"),
      tail_bytes: integer("Begin about this many bytes before the end of each stream"),
      stdout_offset: integer("Begin there"),
      stderr_offset: integer("Begin there"),
    },
    type: "application/x-ndjson",
  },
  "GET /api/tasks/:id/artifacts": { query: { attempt } },
  "POST /api/tasks/:id/artifacts": {
    body: object(
      {
        attempt: integer("Of this attempt"),
        paths: texts(`Up to ${limits.maxSmallFiles}, of files of up to 16 KiB, 1 MiB in all`),
      },
      "attempt",
      "paths",
    ),
  },
  "GET /api/tasks/:id/artifacts/*": { query: { attempt }, type: "application/octet-stream" },
  "GET /api/state/:ns": {
    query: {
      prefix: text("Only keys that begin so"),
      watch: bool("A line of JSON for each entry, then one for each change, without an end"),
    },
  },
  "PUT /api/state/:ns/:key": {
    query: { if_revision: ifRevision },
    body: { description: "The value, up to 1 MiB" },
    takes: "application/octet-stream",
  },
  "DELETE /api/state/:ns/:key": { query: { if_revision: ifRevision } },
  "GET /api/events": { type: "text/event-stream" },
};

/** The parameters that a route has. */
export function parametersOf(route: Route): string[] {
  return Object.keys(details[route]?.query ?? {});
}

/** OpenAPI 3.1. Every route of the table is in it. */
export function openApi(version: string): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [route, facts] of Object.entries(routes) as [Route, RouteFacts][]) {
    const [method, path] = route.split(" ") as [string, string];
    const named = path.replace(/\*$/, ":path").replaceAll(/:(\w+)/g, "{$1}");
    const { query = {}, body, takes = json, type = json } = details[route] ?? {};
    const parameters = [
      ...[...named.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        name,
        in: "path",
        required: true,
        schema: { type: "string" },
      })),
      ...Object.entries(query).map(([name, schema]) => ({ name, in: "query", schema })),
    ];
    (paths[named] ??= {})[method.toLowerCase()] = {
      operationId: operationId(method, named),
      summary: facts.summary,
      security: security[facts.access],
      ...(parameters.length === 0 ? {} : { parameters }),
      ...(body === undefined
        ? {}
        : { requestBody: { required: true, content: { [takes]: { schema: body } } } }),
      responses: {
        "2XX": answerOf(route, type),
        default: {
          description: "What is wrong, and what to do",
          content: {
            "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
          },
        },
      },
    };
  }
  return {
    openapi: "3.1.0",
    info: { title: "agent node", version },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        session: { type: "apiKey", in: "cookie", name: "agent session" },
        node: { type: "mutualTLS" },
      },
      schemas: {
        ...answerSchemas,
        Problem: {
          type: "object",
          required: ["type", "title", "status", "detail"],
          properties: {
            type: { type: "string" },
            title: { type: "string" },
            status: { type: "integer" },
            detail: { type: "string" },
            next: { type: "string", description: "A command to paste, or one sentence" },
          },
        },
      },
    },
  };
}

function answerOf(route: Route, type: string): object {
  const schema = answers[route];
  if (schema === null) return { description: "Done" };
  return { description: "Done", content: { [type]: schema === undefined ? {} : { schema } } };
}

const users = [{ bearer: [] }, { session: [] }];
const security = { open: [], user: users, peer: [{ node: [] }, ...users] };

function operationId(method: string, path: string): string {
  const words = path.split("/").filter((each) => each !== "" && each !== "api");
  return [method.toLowerCase(), ...words.map((each) => each.replaceAll(/[^A-Za-z_]/g, ""))]
    .filter((each) => each !== "").join("_");
}
