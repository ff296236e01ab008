import type { HistogramReading } from "../base/histogram.ts";
import { type HttpServer, serveHttp } from "./server.ts";

export interface HealthOptions {
  host: string;
  /** 0: no health endpoint. */
  port: number;
  /** The setting of the port, for the error that it is taken. */
  setting: string;
  /** Why the role cannot do its work at the moment; undefined: it can. */
  trouble: () => string | undefined;
  metrics: () => Metric[];
}

/** One metric. A counter's name ends in `_total`, units are in names, as Prometheus advises. */
export interface Metric {
  name: string;
  help: string;
  kind: "counter" | "gauge" | "histogram";
  value: MetricValue | HistogramReading;
}

/** A number, or numbers by the value of one label, or of several. */
type MetricValue =
  | number
  | { label: string; values: Record<string, number> }
  | { labels: string[]; rows: [...values: string[], number: number][] };

export function gauge(name: string, help: string, value: MetricValue): Metric {
  return { name: `agent_${name}`, help, kind: "gauge", value };
}

export function counter(name: string, help: string, value: MetricValue): Metric {
  return { name: `agent_${name}_total`, help, kind: "counter", value };
}

/** How long the event loop was held; see base/event_loop_lag.ts. */
export function lagGauge(longestSeconds: number): Metric {
  return gauge(
    "event_loop_lag_seconds",
    "Longest time in the last minute in which nothing else was done.",
    longestSeconds,
  );
}

export function histogram(name: string, help: string, value: HistogramReading): Metric {
  return { name: `agent_${name}`, help, kind: "histogram", value };
}

/** Prometheus's text format, version 0.0.4. */
function metricsText(metrics: Metric[]): string {
  return metrics.map(({ name, help, kind, value }) => {
    const lines = linesOf(name, value);
    return [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, ...lines, ""].join("\n");
  }).join("");
}

function linesOf(name: string, value: Metric["value"]): string[] {
  if (typeof value === "number") return [`${name} ${value}`];
  if ("buckets" in value) {
    const { buckets, sum, count } = value;
    const lines = buckets.map(([bound, below]) => `${name}_bucket{le="${bound}"} ${below}`);
    return [
      ...lines,
      `${name}_bucket{le="+Inf"} ${count}`,
      `${name}_sum ${sum}`,
      `${name}_count ${count}`,
    ];
  }
  if ("label" in value) {
    return Object.entries(value.values).map(([each, number]) =>
      `${name}{${value.label}=${JSON.stringify(each)}} ${number}`
    );
  }
  return value.rows.map((row) => {
    const labels = value.labels.map((label, at) => `${label}=${JSON.stringify(row[at])}`);
    return `${name}{${labels.join(",")}} ${row.at(-1)}`;
  });
}

/**
 * Plain HTTP for probes and monitoring, open to anyone who can reach it: `/healthz` says that the
 * process answers, `/readyz` whether it can do its work, `/metrics` how much of it there is. No
 * secret and no content of a task is shown. Serves until it is disposed; port 0 means not at all.
 *
 * @returns `address` is `host:port` with the real port, or "off".
 * @throws {UserError} where the address is not free.
 */
export async function serveHealth(
  { host, port, setting, trouble, metrics }: HealthOptions,
): Promise<AsyncDisposable & { address: string }> {
  if (port === 0) return { address: "off", [Symbol.asyncDispose]: () => Promise.resolve() };
  return await serveProbes({ host, port, setting }, (path) => {
    switch (path) {
      case "/healthz":
        return { status: 200, body: "ok\n" };
      case "/readyz": {
        const reason = trouble();
        return reason === undefined
          ? { status: 200, body: "ready\n" }
          : { status: 503, body: `${reason}\n` };
      }
      case "/metrics": {
        const type = "text/plain; version=0.0.4; charset=utf-8";
        return { status: 200, body: metricsText(metrics()), type };
      }
      default:
        return { status: 404, body: "Paths are /healthz, /readyz and /metrics\n" };
    }
  });
}

/** Probes and monitoring of a host are a handful; each connection serves one request. */
const connections = { total: 64, perAddress: 64, pendingMs: 5_000 };

export interface ProbeAnswer {
  status: 200 | 404 | 503;
  body: string;
  type?: string;
}

/** GET and HEAD of a few paths, one request for each connection. Exported for its test. */
export async function serveProbes(
  at: { host: string; port: number; setting: string },
  answer: (path: string) => ProbeAnswer,
): Promise<HttpServer> {
  return await serveHttp({
    ...at,
    connections,
    idleMs: 0,
    bodyMs: connections.pendingMs,
    handle: (request, response) => {
      const send = (status: number, body: string, type = "text/plain; charset=utf-8") => {
        response.writeHead(status, {
          "content-type": type,
          "content-length": new TextEncoder().encode(body).length,
          "cache-control": "no-store",
        });
        response.end(request.method === "HEAD" ? undefined : body);
      };
      if (request.method !== "GET" && request.method !== "HEAD") return send(405, "Only GET\n");
      try {
        const { status, body, type } = answer(request.url!.split("?")[0]!);
        send(status, body, type);
      } catch {
        // The role logs its own failures; a probe only needs the status.
        send(500, "The answer could not be made\n");
      }
    },
  });
}
