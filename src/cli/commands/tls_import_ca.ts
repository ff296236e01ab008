import { pkiOf } from "../../pki/directory/context.ts";
import { day } from "../../pki/x509/dates.ts";
import { nameOf, recordOf } from "../../pki/x509/describe.ts";
import { makeConfigFolder, tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";
import { certificatesInput, inputName } from "../read_certificates.ts";

export default command({
  path: "tls import-ca",
  summary: "Trust the CA of another cluster in addition to this host's own",
  args: [{
    name: "FILE",
    help: "Certificate of that CA, from tls export-ca there; - reads standard input",
    required: true,
  }],
  options: {
    name: {
      kind: "text",
      placeholder: "LABEL",
      help: "Label for it; by default made from its name",
    },
  },
  examples: [
    { line: "agent tls import-ca lab-b-ca.crt", does: "Trusts the hosts of that CA" },
    { line: "agent tls import-ca ca.crt --name lab-b", does: "With your own label" },
    {
      line: "agent tls import-ca -",
      does: "From standard input: ssh b.lan agent tls export-ca | agent tls import-ca -",
    },
  ],
  exits: { 3: "Another CA has that name" },
  grants: async ({ args, env }) => {
    makeConfigFolder(env);
    return await tlsGrants(env, { read: args[0] === inputName ? [] : [args[0]] });
  },
  run: async ({ args, options, env }) => {
    const { importCa } = await import("../../pki/operations/import.ts");
    const pki = pkiOf(env);
    const text = await certificatesInput(env, args[0]);
    const { root, certificate, label, added } = await importCa(pki, args[0]!, options.name, text);
    return { directory: root, ca: recordOf(certificate, pki.now()), label, added };
  },
  text: ({ ca, label, added }) => {
    const name = nameOf(ca);
    if (!added) {
      return label === "ca"
        ? `"${name}" is this host's own CA; nothing has changed`
        : `"${name}" is already trusted, as ${label}; nothing has changed`;
    }
    return [
      `This host now also trusts "${name}", as ${label}, valid until ${day(ca.not_after)}`,
      `  SHA-256 ${ca.fingerprint_sha256}`,
      "Compare this with what agent tls status shows on the CA's host.",
      "",
      "Next: agent tls export-ca, for the other side to import",
    ].join("\n");
  },
});
