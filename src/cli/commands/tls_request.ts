import { basename, resolve } from "node:path";
import { pkiOf } from "../../pki/directory/context.ts";
import { namesText } from "../../pki/x509/describe.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";
import { makeConfigFolder, tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";

export default command({
  path: "tls request",
  summary: "Request a certificate from the CA's host; the key never leaves this host",
  description:
    "The key stays in the TLS directory until the answer is installed. Another request " +
    "before that uses the same key, so the answer to either one can be installed.",
  options: {
    out: {
      short: "o",
      kind: "path",
      placeholder: "FILE",
      required: true,
      help: "File for the request",
    },
    hostname: {
      kind: "text",
      repeat: true,
      help: "Name to ask for; default: those found on this host and those of its certificate",
    },
    ip: { kind: "text", repeat: true, help: "Address to ask for" },
  },
  examples: [
    { line: "agent tls request -o b.csr", does: "Asks for the names found on this host" },
    { line: "agent tls request -o b.csr --hostname b.lan --ip 10.0.0.6", does: "Asks for these" },
  ],
  exits: { 3: "This host holds the CA, and needs no other" },
  grants: async ({ options, env }) => {
    makeConfigFolder(env);
    return await tlsGrants(env, { write: [options.out] });
  },
  run: async ({ options, env }) => {
    const { request } = await import("../../pki/operations/request.ts");
    const made = await request(pkiOf(env), {
      out: resolve(options.out),
      hostnames: options.hostname,
      ips: options.ip,
    });
    return {
      file: made.out,
      hostnames: made.names.hostnames,
      ips: made.names.ips,
      role: made.role ?? null,
      pending_key: made.pendingKey,
      key_reused: made.keyKept,
    };
  },
  text: (made) =>
    [
      `Wrote the request to ${made.file}`,
      `  It asks for ${namesText(made)}`,
      ...made.role === null
        ? []
        : [`  and for the role ${made.role}, like the current certificate`],
      made.key_reused
        ? `  The key of the earlier request is used again: ${made.pending_key}`
        : `  Its key stays here: ${made.pending_key}`,
      "",
      `Next: copy ${made.file} to the CA's host, and there:`,
      `        agent tls mint --csr ${shellQuoted(basename(made.file))} -o DIR`,
      "      copy server.crt and ca.crt from DIR back here, and here:",
      "        agent tls install --cert server.crt --ca ca.crt",
    ].join("\n"),
});
