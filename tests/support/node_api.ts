/** The API of a node over real TLS, with a membership that the test fills. */
import { request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import { systemClock } from "../../src/base/clock.ts";
import { EventLog } from "../../src/http/events.ts";
import { type HttpServer, serveHttp, type ServerMaterial } from "../../src/http/server.ts";
import type { Node } from "../../src/mesh/api/context.ts";
import { newToken } from "../../src/mesh/identity.ts";
import { Membership } from "../../src/mesh/membership.ts";
import { trustedProxies } from "../../src/mesh/request_facts.ts";
import { nodeHandler } from "../../src/mesh/server.ts";
import type { SessionFile } from "../../src/mesh/kept_sessions.ts";
import { Sessions } from "../../src/mesh/sessions.ts";
import { CallerCertificates } from "../../src/mesh/trust.ts";
import { parseCertificates } from "../../src/pki/x509/inspect.ts";
import { silentLog } from "./silent_log.ts";

export const selfId = "cccccccc-0000-4000-8000-000000000000";

export interface NodeApi extends AsyncDisposable {
  node: Node;
  token: string;
  port: number;
  server: HttpServer;
}

/** Sessions that end with the test. */
export const notKept: SessionFile = { read: () => undefined, write: () => {} };

/** @param material undefined: plain HTTP. */
export async function nodeApi(
  material?: ServerMaterial,
  facts: Partial<Node> = {},
): Promise<NodeApi> {
  const token = newToken();
  const membership = new Membership({ id: selfId, instance: "0000000000000009" });
  const startedAt = Date.now();
  const roots = material?.ca === undefined ? [] : parseCertificates(material.ca, "ca");
  let port = 0;
  const node: Node = {
    membership,
    own: () => ({
      facts: {
        ...membership.self,
        name: "self",
        cluster: "lab",
        version: "1.0.0",
        addresses: [`127.0.0.1:${port}`],
        started_at: startedAt,
        cpu_count: 1,
        load: 0,
        memory_total: 1,
        memory_available: 1,
      },
      firstSeen: startedAt,
      certificate: {
        certificateFingerprint: undefined,
        certificateNotAfter: undefined,
        caFingerprint: undefined,
      },
    }),
    sessions: new Sessions({
      clock: systemClock,
      token: () => token,
      file: notKept,
    }),
    noAuth: false,
    tls: material !== undefined,
    url: () => `${material === undefined ? "http" : "https"}://127.0.0.1:${port}/`,
    hostNames: () => ["node.test", "*.lab.test"],
    isProxy: trustedProxies([]),
    certificates: new CallerCertificates(),
    roots: () => roots,
    coordinators: [],
    tasks: undefined,
    unanswered: () => [],
    events: new EventLog("run"),
    client: () => {
      throw new Error("No other node is asked here");
    },
    canSignOn: () => false,
    asked: () => {},
    forgotten: () => {},
    clock: systemClock,
    log: silentLog,
    ...facts,
  };
  const server = await serveHttp({
    host: "127.0.0.1",
    port: 0,
    setting: "test.port",
    ...(material === undefined ? {} : { tls: material }),
    connections: { total: 500, perAddress: 500, pendingMs: 5_000 },
    idleMs: 5_000,
    bodyMs: 5_000,
    handle: nodeHandler(node, {}),
  });
  port = server.port;
  return {
    node,
    token,
    port,
    server,
    async [Symbol.asyncDispose]() {
      node.events.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

export interface Asked {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  ca?: string;
  cert?: string;
  key?: string;
}

export interface Answered {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

/** One request on a connection of its own; an answer that streams is left after its head. */
export function ask(port: number, path: string, asked: Asked = {}): Promise<Answered> {
  const { method = "GET", headers = {}, body, ca, cert, key } = asked;
  const options = { host: "127.0.0.1", port, path, method, headers, agent: false as const };
  return new Promise((resolve, reject) => {
    const request = ca === undefined
      ? plainRequest(options)
      : secureRequest({ ...options, ca, ...(cert === undefined ? {} : { cert, key }) });
    request.on("error", reject);
    request.once("response", async (response) => {
      const head = { status: response.statusCode ?? 0, headers: response.headers };
      if (/event-stream/.test(String(response.headers["content-type"]))) {
        resolve({ ...head, text: "" });
        request.destroy();
        return;
      }
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve({ ...head, text });
    });
    request.end(body);
  });
}
