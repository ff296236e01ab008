/** Callers that a server turns away before their first call: why, and how often that is logged. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { PkiError } from "../pki/errors.ts";
import type { FailedHandshake } from "../deno/http2_sessions.ts";

/** Why a caller was turned away or cut off; also the label of a metric. */
export type RefusalCause =
  | "no_certificate"
  | "expired_certificate"
  | "untrusted_certificate"
  | "plaintext"
  | "not_grpc"
  | "certificate_rejected"
  | "hung_up"
  | "handshake_failed"
  | "asked_too_much";

export interface Refusal {
  cause: RefusalCause;
  /** For a person: what the caller did. */
  reason: string;
  /** What to do about it, and where. */
  next: string;
}

const expired: Refusal = {
  cause: "expired_certificate",
  reason: "its certificate, or one of a CA above it, has expired",
  next: "agent tls status on the caller's host; where that is fine, check the clock here",
};

/** The runtime has one code for all of these. */
const untrusted: Refusal = {
  cause: "untrusted_certificate",
  reason:
    "its certificate is not of a CA in peer.client_ca_file, not for clients, or not valid yet " +
    "by the clock of this host",
  next:
    "Compare agent tls status and date -u on both hosts; a certificate needs clientAuth and one " +
    "of these CAs",
};

/** By code and message of the error; some failures differ only in the runtime's message. */
const byError: [RegExp, Refusal][] = [
  [/DID_NOT_RETURN_A_CERTIFICATE|sent no certificates/i, {
    cause: "no_certificate",
    reason: "it presented no client certificate (mTLS)",
    next: "Set peer.cert_file and peer.key_file on the caller's side; agent tls mint makes a pair",
  }],
  [/WRONG_VERSION_NUMBER|HTTP_REQUEST|InvalidContentType/i, {
    cause: "plaintext",
    reason: "it spoke plaintext, and this port TLS",
    next: "Set peer.insecure=false and the CA on the caller's side",
  }],
  [/fatal alert|ALERT_(?:UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE)/i, {
    cause: "certificate_rejected",
    reason: "it refused this coordinator's certificate",
    next:
      "Install this side's CA there: agent tls export-ca here, agent tls install --ca FILE there",
  }],
];

const hungUp: Refusal = {
  cause: "hung_up",
  reason: "it closed the connection during the TLS handshake",
  next: "It may not accept this coordinator's certificate or its names; see the caller's own error",
};

/** For a plaintext port: the first bytes were not the start of HTTP/2. */
export const notGrpc: Refusal = {
  cause: "not_grpc",
  reason: "it does not speak plaintext gRPC",
  next: "A caller with TLS needs peer.insecure=true for this coordinator, or give it a certificate",
};

/** Why a handshake failed. Nothing else is known about the caller but its address. */
export function refusalOf({ code, message, verification }: FailedHandshake): Refusal {
  if (verification !== undefined) return verification === "CERT_HAS_EXPIRED" ? expired : untrusted;
  const known = byError.find(([pattern]) => pattern.test(`${code} ${message}`));
  if (known !== undefined) return known[1];
  if (code === "ECONNRESET") return hungUp;
  return {
    cause: "handshake_failed",
    reason: `the TLS handshake failed: ${message}`,
    next: "Both sides must speak TLS 1.2 or 1.3",
  };
}

/** Why a caller is refused although the runtime accepts its certificate. */
export function refusalOfChain(error: PkiError): Refusal {
  const cause = error.code === "expired" ? "expired_certificate" : "untrusted_certificate";
  return { cause, reason: error.message, next: error.next ?? untrusted.next };
}

/** One log line for each address and cause in this time: a refused worker keeps dialling. */
const repeatMs = 60_000;
/** Remembered addresses and causes: a flood from many addresses must not fill the memory. */
const maxRemembered = 1_000;

/** Logs refused callers, and counts them. */
export class RefusalLog {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #counts = new Map<RefusalCause, number>();
  /** Oldest first. */
  readonly #remembered = new Map<string, { at: number; unlogged: number }>();

  constructor({ log, clock }: { log: Log; clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  /** How many there were, by cause. */
  counts(): Partial<Record<RefusalCause, number>> {
    return Object.fromEntries(this.#counts);
  }

  refused(address: string, { cause, reason, next }: Refusal): void {
    this.#counts.set(cause, (this.#counts.get(cause) ?? 0) + 1);
    const key = `${cause} ${address}`;
    const now = this.#clock.monotonic();
    const last = this.#remembered.get(key);
    if (last !== undefined && now - last.at < repeatMs) return void last.unlogged++;
    this.#remembered.delete(key);
    this.#remembered.set(key, { at: now, unlogged: 0 });
    if (this.#remembered.size > maxRemembered) {
      this.#remembered.delete(this.#remembered.keys().next().value!);
    }
    const repeated = last === undefined || last.unlogged === 0 ? undefined : last.unlogged;
    this.#log.warn("refused a caller", { address, reason, next, repeated });
  }
}
