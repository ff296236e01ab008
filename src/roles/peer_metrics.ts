import { counter, gauge, type Metric } from "../http/health.ts";
import type { PeerServer } from "../peer/server.ts";

/** What a gRPC server counts of its callers before their first call. */
export function peerMetrics(server: PeerServer): Metric[] {
  const { open, pending, overdue, evicted, refused } = server.connections();
  const ends = server.certificate()?.notAfter;
  return [
    gauge("caller_connections", "Connections of callers that are open.", open),
    gauge("caller_connections_pending", "Those of them that have not opened HTTP/2 yet.", pending),
    counter("caller_connections_closed", "Connections closed by a limit.", {
      label: "reason",
      values: { overdue, evicted, refused },
    }),
    counter("rpcs", "Calls that have ended.", { labels: ["method", "code"], rows: server.calls() }),
    counter("refused_callers", "Callers turned away before their first call.", {
      label: "cause",
      values: server.refusals(),
    }),
    ...ends === undefined ? [] : [
      gauge(
        "certificate_expiry_seconds",
        "End of the certificate in use, in seconds since 1970.",
        ends.getTime() / 1000,
      ),
    ],
  ];
}
