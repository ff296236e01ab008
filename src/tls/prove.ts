/**
 * Proves a certificate and its key by a TLS handshake in memory. The runtime's TLS refuses some pairs
 * that OpenSSL and our own reader accept, and reports it only when a connection fails: without a proof
 * a server would report that it is ready and then drop every caller.
 */
import { Duplex } from "node:stream";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import { PkiError } from "../pki/errors.ts";
import { messageOf } from "../base/errors.ts";
import { parseCertificates } from "../pki/x509/inspect.ts";
import { checkUsable } from "../pki/x509/validate.ts";

/** A handshake takes 35 ms here; only a machine that is badly overloaded needs seconds. */
const handshakeMs = 10_000;

/**
 * Uses the pair as a server in a handshake with a client that trusts the given CAs. Opens no socket
 * and needs no permission. Names are not compared.
 *
 * @param certPem the certificate and its intermediates; hand over what `pemOf` wrote, not the text of
 * a file: the runtime understands fewer forms of PEM than our reader.
 * @param keyPem the private key as PKCS#8.
 * @param caPem the CAs to lead to; undefined to prove only that certificate and key can be used.
 * @throws {PkiError} `expired`, `not_yet_valid`, `bad_chain`, `unsupported_key`, `bad_certificate` or
 * `unusable_pair`.
 */
export async function provePair(
  certPem: string,
  keyPem: string,
  caPem: string | undefined,
): Promise<void> {
  const name = "certificate";
  const [leaf, ...others] = parseCertificates(certPem, name);
  for (const certificate of [leaf!, ...others]) checkUsable(certificate, name);
  const failure = await handshake(certPem, keyPem, caPem);
  if (failure === undefined) return;
  const subject = `The certificate "${leaf!.subject}"`;
  const next = "Look at it with: openssl x509 -noout -text -in FILE; or have a new one issued";
  switch (failure) {
    case "CERT_HAS_EXPIRED":
      throw new PkiError("expired", `${subject}, or a CA above it, has expired`, { next });
    case "CERT_NOT_YET_VALID":
      throw new PkiError("not_yet_valid", `${subject}, or a CA above it, is not valid yet`, {
        next: "Check this host's clock",
      });
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
      throw new PkiError(
        "bad_chain",
        `${subject} is refused in a TLS handshake: a signature on the way to the trusted CA does not ` +
          `hold, or a limit that a CA sets for names or key usage is broken (${failure})`,
        { next },
      );
    default:
      throw new PkiError(
        "unusable_pair",
        `${subject} and its key cannot be used: a TLS handshake with them fails (${failure})`,
        { next },
      );
  }
}

/** Returns the code of what failed, or undefined. */
async function handshake(
  cert: string,
  key: string,
  ca: string | undefined,
): Promise<string | undefined> {
  const [serverEnd, clientEnd] = inMemory();
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const fail = (error: unknown) =>
    resolve((error as { code?: string } | null)?.code ?? messageOf(error));
  const timer = setTimeout(() => resolve("no result in 10 s"), handshakeMs);
  const open: { destroy(): void }[] = [];
  try {
    const server = new TLSSocket(serverEnd, {
      isServer: true,
      secureContext: createSecureContext({ cert, key }),
    });
    open.push(server);
    server.on("error", fail);
    const client = connect({
      socket: clientEnd,
      rejectUnauthorized: ca !== undefined,
      checkServerIdentity: () => undefined,
      ...(ca === undefined ? {} : { ca }),
    });
    open.push(client);
    client.on("error", fail);
    client.on("secureConnect", () => resolve(undefined));
    return await promise;
  } catch (error) {
    // Deno 2.9 refuses some keys as soon as it loads them.
    return messageOf(error);
  } finally {
    clearTimeout(timer);
    for (const socket of open) socket.destroy();
  }
}

/** The two ends of a connection that exists only in this process. */
function inMemory(): [Duplex, Duplex] {
  const end = (other: () => Duplex) =>
    new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        other().push(chunk);
        done();
      },
      final(done) {
        other().push(null);
        done();
      },
    });
  const first: Duplex = end(() => second);
  const second: Duplex = end(() => first);
  return [first, second];
}
