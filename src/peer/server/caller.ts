import { joinHost } from "../../base/address.ts";
import { inspectCertificate } from "../../pki/x509/inspect.ts";
import type { PeerMode } from "../../tls/mode.ts";
import type { CallerFacts } from "./session.ts";

/** Who calls: its address, and with mTLS the subject of the certificate that it proved to own. */
export function callerFacts(mode: PeerMode): CallerFacts {
  return (call) => {
    const address = written(call.getPeer());
    // Without mTLS no certificate is asked for, and none would be verified.
    if (mode.mode !== "mtls") return { address, identity: undefined };
    const der = call.getAuthContext().sslPeerCertificate?.raw;
    return { address, identity: der === undefined ? undefined : inspectCertificate(der).subject };
  };
}

/** gRPC puts the port behind any IP; one that listens on `::` shows IPv4 as a part of IPv6. */
function written(peer: string): string {
  const colon = peer.lastIndexOf(":");
  return joinHost(
    peer.slice(0, colon).replace(/^::ffff:(?=[\d.]+$)/, ""),
    Number(peer.slice(colon + 1)),
  );
}
