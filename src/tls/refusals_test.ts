import assert from "node:assert/strict";
import { createLog } from "../base/log.ts";
import { systemClock } from "../base/clock.ts";
import { notGrpc, RefusalLog, refusalOf } from "./refusals.ts";

Deno.test("a failed handshake has a cause, on each runtime", () => {
  const cases: [code: string, message: string, verification: string | undefined, cause: string][] =
    [
      [
        "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "peer sent no certificates",
        undefined,
        "no_certificate",
      ],
      ["ECONNRESET", "socket hang up", "CERT_HAS_EXPIRED", "expired_certificate"],
      ["ECONNRESET", "socket hang up", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "untrusted_certificate"],
      ["ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number", undefined, "plaintext"],
      // Deno 2.7 gives another code.
      [
        "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
        "received corrupt message of type InvalidContentType",
        undefined,
        "plaintext",
      ],
      [
        "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
        "received fatal alert: UnknownCA",
        undefined,
        "certificate_rejected",
      ],
      ["ECONNRESET", "socket hang up", undefined, "hung_up"],
      ["ERR_SSL_X", "no cipher suites in common", undefined, "handshake_failed"],
    ];
  for (const [code, message, verification, cause] of cases) {
    const refusal = refusalOf({ code, message, verification });
    assert.equal(refusal.cause, cause, message);
    assert.ok(refusal.reason && refusal.next);
  }
});

Deno.test("a caller that is refused again and again is logged once a minute, with the number", () => {
  let now = 0;
  const lines: string[] = [];
  const log = createLog({
    level: "info",
    format: "json",
    now: () => 0,
    write: (line) => lines.push(line),
  });
  const refusals = new RefusalLog({ log, clock: { ...systemClock, monotonic: () => now } });
  for (let n = 0; n < 10; n++) refusals.refused("10.0.0.1", notGrpc);
  assert.equal(lines.length, 1);
  refusals.refused("10.0.0.2", notGrpc);
  assert.equal(lines.length, 2, "another address has its own line");
  now = 60_000;
  refusals.refused("10.0.0.1", notGrpc);
  assert.equal(lines.length, 3);
  assert.equal(JSON.parse(lines[2]!).repeated, 9);
  assert.deepEqual(refusals.counts(), { not_grpc: 12 });
});

Deno.test("refusals of many addresses do not fill the memory", () => {
  const log = createLog({ level: "error", format: "json", now: () => 0, write: () => {} });
  const refusals = new RefusalLog({ log, clock: systemClock });
  const before = Deno.memoryUsage().heapUsed;
  for (let n = 0; n < 200_000; n++) refusals.refused(`fd00::${n}`, notGrpc);
  assert.ok(Deno.memoryUsage().heapUsed - before < 50e6);
});
