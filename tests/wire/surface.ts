/**
 * What other versions see of the REST API and of the protocol between nodes: paths, parameters, and
 * the fields of answers with their types.
 *
 * `released.json` is that of the last release, and `proto` its gRPC protocol. At a release both are
 * written anew, after the version in deno.json was raised:
 *
 *     deno run -A tests/wire/surface.ts
 */
import {
  artifactView,
  stateView,
  taskView,
  textOrBase64,
  workerView,
} from "../../src/client/views.ts";
import { version } from "../../src/base/version.ts";
import type { NodeAnswer } from "../../src/mesh/protocol.ts";
import { openApi } from "../../src/mesh/api/openapi.ts";
import type { Attempt } from "../../src/tasks/task.ts";
import { spec } from "../support/spec.ts";

/** Type of each field, by its path: `attempts[].exit_code` is a `number`. */
export type Shape = Record<string, string>;

export interface Surface {
  version: string;
  /** `POST /api/tasks body.argv` is an `array`. */
  requests: Shape;
  answers: Record<string, Shape>;
  /** An answer of a node to another. */
  node: NodeAnswer;
}

export function surface(): Surface {
  return { version, requests: requests(), answers: answers(), node };
}

export function shapeOf(value: unknown, path = ""): Shape {
  if (Array.isArray(value)) {
    return { [path]: "array", ...Object.assign({}, ...value.map((v) => shapeOf(v, `${path}[]`))) };
  }
  if (typeof value !== "object" || value === null) return { [path]: typeof value };
  const fields = Object.entries(value)
    .map(([name, v]) => shapeOf(v, path === "" ? name : `${path}.${name}`));
  return Object.assign(path === "" ? {} : { [path]: "object" }, ...fields);
}

interface Operation {
  parameters?: { name: string; in: string; required?: boolean; schema: { type: string } }[];
  requestBody?: { content: Record<string, { schema: Body }> };
  responses: { "2XX": { content?: Record<string, unknown> } };
}
interface Body {
  properties: Record<string, { type: string }>;
  required: string[];
}

function requests(): Shape {
  const found: Shape = {};
  const { paths } = openApi(version) as { paths: Record<string, Record<string, Operation>> };
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { parameters = [], requestBody, responses }] of Object.entries(methods)) {
      const operation = `${method.toUpperCase()} ${path}`;
      found[operation] = Object.keys(responses["2XX"].content ?? { "no content": 0 }).join();
      const body = requestBody?.content["application/json"]?.schema;
      for (const { name, in: where, required, schema } of parameters) {
        found[`${operation} ${where}.${name}`] = required
          ? `${schema.type}, required`
          : schema.type;
      }
      for (const [name, { type }] of Object.entries(body?.properties ?? {})) {
        const isRequired = body!.required.includes(name);
        found[`${operation} body.${name}`] = isRequired ? `${type}, required` : type;
      }
    }
  }
  return found;
}

function answers(): Record<string, Shape> {
  const at = Date.parse("2027-01-01T00:00:00Z");
  const resources = { gpu: 1 };
  const by = { name: "ada", fingerprint: "ab" };
  const attempt: Attempt = {
    attempt: 1,
    fence: 1,
    workerId: "w",
    state: "failed",
    assignedAt: at,
    startedAt: at,
    finishedAt: at,
    exitCode: 1,
    signal: "SIGKILL",
    reason: "x",
    stdoutBytes: 1,
    stderrBytes: 1,
    superseded: false,
  };
  const full = spec({
    ...{ argv: ["true"], cwd: "/", selector: {}, timeoutMs: 1, atOnce: 1, maxLost: 1 },
    artifacts: ["*"],
  });
  const task = taskView({
    ...{ id: "t", spec: full, state: "failed", submittedAt: at, finishedAt: at, notBefore: at },
    ...{ attempts: [attempt], arrayId: "t", arrayIndex: 1, cancelRequested: false, reason: "x" },
    submitter: by,
  });
  const worker = workerView({
    ...{
      id: "w",
      version,
      labels: {},
      slots: 1,
      running: 0,
      assigned: 0,
      health: "healthy",
      draining: false,
    },
    ...{ connected: true, connectedAt: at, lastHeartbeatAt: at, address: "h:1", identity: "CN=w" },
    ...{ fingerprint: "ab", resources, resourcesUsed: resources, warnings: ["x"], trouble: "x" },
  });
  const artifact = artifactView({ path: "x", size: 1, sha256: "ab", mode: 0o644, attempt: 1 });
  const value = new TextEncoder().encode("x");
  const entry = stateView(
    {
      ...{ namespace: "n", key: "k", value, revision: 1, updatedAt: at, updatedBy: by },
    } as Parameters<typeof stateView>[0],
  );
  return {
    task: shapeOf(task),
    worker: shapeOf(worker),
    artifact: shapeOf(artifact),
    state: shapeOf(entry),
    binary: shapeOf(textOrBase64(new Uint8Array([255]), "data")),
  };
}

const node: NodeAnswer = {
  node: {
    ...{ id: "0".repeat(8) + "-0000-4000-8000-000000000000", instance: "0".repeat(16), name: "a" },
    ...{ cluster: "lab", version, addresses: ["10.0.0.1:8765"], started_at: 1, cpu_count: 2 },
    ...{ load: 0.5, memory_total: 1, memory_available: 1 },
  },
  revision: 1,
  since: null,
  members: [
    {
      ...{ id: "1".repeat(8) + "-0000-4000-8000-000000000000", name: "b", reachable: true },
      ...{ addresses: ["10.0.0.2:8765"], latency_ms: 1, last_seen: 1 },
    },
    { gone: true, id: "2".repeat(8) + "-0000-4000-8000-000000000000" },
  ],
};

if (import.meta.main) {
  const here = new URL(".", import.meta.url);
  await Deno.writeTextFile(
    new URL("released.json", here),
    `${JSON.stringify(surface(), undefined, 2)}\n`,
  );
  await Deno.copyFile(
    new URL("../../src/peer/proto/agent/v1/agent.proto", here),
    new URL("proto/agent/v1/agent.proto", here),
  );
}
