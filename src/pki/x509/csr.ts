/** Certificate requests (PKCS#10). Loads @peculiar/x509, which takes a while; import it lazily. */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import type { KeyObject } from "node:crypto";
import type { Bytes } from "./der.ts";
import { signingAlgorithm, webKeyPair } from "./keys.ts";
import { type CertificateRole, roleIn, roleUri } from "./roles.ts";
import { PkiError } from "../errors.ts";
import { commonNameFor, type Names, parseHostname, parseIp } from "./names.ts";
import { leastRsaBits } from "./validate.ts";
import { parsePem, toPem } from "./pem.ts";

/** The content of a request. */
export interface CertificateRequest {
  publicKey: Bytes;
  names: Names;
  /** The role that the certificate is to be limited to. */
  role: CertificateRole | undefined;
}

/** Asks for a certificate: names, and optionally the role that it is to be limited to. */
export async function makeRequest(
  { key, names, role }: { key: KeyObject; names: Names; role?: CertificateRole | undefined },
): Promise<string> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: new x509.Name([{ CN: [{ utf8String: commonNameFor(names) }] }]).toString(),
    keys: await webKeyPair(key),
    signingAlgorithm: signingAlgorithm(key),
    extensions: [
      new x509.SubjectAlternativeNameExtension([
        ...names.hostnames.map((value) => ({ type: "dns" as const, value })),
        ...names.ips.map((value) => ({ type: "ip" as const, value })),
        ...role === undefined ? [] : [{ type: "url" as const, value: roleUri(role) }],
      ]),
    ],
  });
  return toPem("CERTIFICATE REQUEST", new Uint8Array(request.rawData));
}

/** Reads a request and checks that its author has the private key. */
export async function readRequest(text: string, source: string): Promise<CertificateRequest> {
  const fail = (what: string, cause?: unknown) =>
    new PkiError("bad_request", `"${source}" is not a certificate request: ${what}`, {
      next: "Make one on the host that needs the certificate: agent tls request -o FILE",
      file: source,
      cause,
    });
  const block = parsePem(text, source)
    .find(({ label }) => label === "CERTIFICATE REQUEST" || label === "NEW CERTIFICATE REQUEST");
  if (block === undefined) throw fail("it has no block -----BEGIN CERTIFICATE REQUEST-----");
  let request: x509.Pkcs10CertificateRequest;
  let isSigned: boolean;
  let names: Names;
  try {
    request = new x509.Pkcs10CertificateRequest(block.der);
    names = namesOf(request);
    isSigned = await request.verify();
  } catch (cause) {
    throw fail("it is damaged, or its key or signature is of an unusual kind", cause);
  }
  if (!isSigned) throw fail("it is not signed by the key that it names");
  const { algorithm } = request.publicKey as { algorithm: { modulusLength?: number } };
  if (algorithm.modulusLength !== undefined && algorithm.modulusLength < leastRsaBits) {
    throw fail(
      `its RSA key has ${algorithm.modulusLength} bits; at least ${leastRsaBits} are needed`,
    );
  }
  const role = roleIn(
    alternativeNames(request).flatMap(({ type, value }) => type === "url" ? [value] : []),
  );
  if (role === "unknown") throw fail("it asks for a role that this version does not know");
  return { publicKey: new Uint8Array(request.publicKey.rawData), names, role };
}

function namesOf(request: x509.Pkcs10CertificateRequest): Names {
  const names: Names = { hostnames: [], ips: [] };
  for (const { type, value } of alternativeNames(request)) {
    if (type === "dns") names.hostnames.push(parseHostname(value));
    if (type === "ip") names.ips.push(parseIp(value));
  }
  return names;
}

function alternativeNames(request: x509.Pkcs10CertificateRequest) {
  return request.extensions.flatMap((extension) =>
    extension instanceof x509.SubjectAlternativeNameExtension ? extension.names.items : []
  );
}
