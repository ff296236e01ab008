import { messageOf, UserError } from "../base/errors.ts";
import { joinHost } from "../base/address.ts";
import { type Answer, serveProbes } from "./server.ts";

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
  kind: "counter" | "gauge";
  value: MetricValue;
}

/** A number, or numbers by the value of one label. */
type MetricValue = number | { label: string; values: Record<string, number> };

export function gauge(name: string, help: string, value: MetricValue): Metric {
  return { name: `agent_${name}`, help, kind: "gauge", value };
}

export function counter(name: string, help: string, value: MetricValue): Metric {
  return { name: `agent_${name}_total`, help, kind: "counter", value };
}

/** Prometheus's text format, version 0.0.4. */
function metricsText(metrics: Metric[]): string {
  return metrics.map(({ name, help, kind, value }) => {
    const lines = typeof value === "number"
      ? [`${name} ${value}`]
      : Object.entries(value.values).map(([each, number]) =>
        `${name}{${value.label}=${JSON.stringify(each)}} ${number}`
      );
    return [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, ...lines, ""].join("\n");
  }).join("");
}

/**
 * Plain HTTP for probes and monitoring, open to whoever can reach it: `/healthz` says that the
 * process answers, `/readyz` whether it can do its work, `/metrics` how much of it there is. No
 * secret and no task's content is told. Serves until it is disposed; port 0 means not at all.
 *
 * @returns `address` is `host:port`, or "off".
 * @throws {UserError} where the address is not free.
 */
export function serveHealth(
  { host, port, setting, trouble, metrics }: HealthOptions,
): AsyncDisposable & { address: string } {
  if (port === 0) return { address: "off", [Symbol.asyncDispose]: () => Promise.resolve() };
  const address = joinHost(host, port);
  const answer = (path: string): Answer => {
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
        return { status: 404, body: "There are /healthz, /readyz and /metrics\n" };
    }
  };
  try {
    const listener = Deno.listen({ hostname: host, port });
    const served = serveProbes(listener, answer);
    const end = () => {
      listener.close();
      return served;
    };
    return { address, [Symbol.asyncDispose]: end };
  } catch (error) {
    const why = error instanceof Deno.errors.AddrInUse
      ? "another program uses the port"
      : messageOf(error);
    throw new UserError(`Could not listen on "${address}" for health: ${why}`, {
      next: `Stop what uses the port, or set ${setting} to another; 0 switches it off`,
      cause: error,
    });
  }
}
