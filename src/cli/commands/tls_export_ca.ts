import { resolve } from "node:path";
import { pkiOf } from "../../pki/directory/context.ts";
import { recordOf } from "../../pki/x509/describe.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";

export default command({
  path: "tls export-ca",
  summary: "Export the certificate of this host's CA, for others to trust",
  description: "The certificate is not secret. A private key is never exported.",
  options: {
    out: {
      short: "o",
      kind: "path",
      placeholder: "FILE",
      help: "File to write; standard output by default",
    },
  },
  examples: [
    { line: "agent tls export-ca", does: "PEM on standard output" },
    { line: "agent tls export-ca -o /tmp/ca.crt", does: "The same into a file" },
  ],
  grants: ({ options, env }) => tlsGrants(env, { write: [options.out] }),
  run: async ({ options, env }) => {
    const { exportCa } = await import("../../pki/operations/export.ts");
    const pki = pkiOf(env);
    const out = options.out === undefined ? undefined : resolve(options.out);
    const { certificate, pem } = await exportCa(pki, out);
    return { file: out ?? null, ca: recordOf(certificate, pki.now()), pem };
  },
  text: ({ file, ca, pem }) =>
    file === null ? pem : [
      `Wrote the CA certificate to ${file}`,
      `  SHA-256 ${ca.fingerprint_sha256}`,
      "",
      `Next: on another cluster's host: agent tls import-ca ${shellQuoted(file)}`,
      `      on a peer of this CA:      agent tls install --ca ${shellQuoted(file)}`,
      "      in a browser:              agent tls trust-system",
    ].join("\n"),
});
