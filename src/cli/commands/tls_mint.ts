import { resolve } from "node:path";
import { warnOfClock } from "../../pki/directory/clock_warning.ts";
import { pkiOf } from "../../pki/directory/context.ts";
import { day } from "../../pki/x509/dates.ts";
import { namesText, recordOf } from "../../pki/x509/describe.ts";
import { certificateRoles } from "../../pki/x509/roles.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";
import { confirm } from "../confirm.ts";

export default command({
  path: "tls mint",
  summary: "Issue a certificate for another host with this host's CA",
  description:
    "Writes server.crt, server.key and ca.crt into a new folder, for tls install on that " +
    "host. Without names the certificate is valid for workers and nodes, which check only the CA; " +
    "give names if browsers, curl or gRPC clients connect to the host. With --csr the host's key " +
    "stays on the host, and no key is written.",
  options: {
    out: {
      short: "o",
      kind: "path",
      placeholder: "DIR",
      required: true,
      help: "Folder to write to, made with mode 0700",
    },
    hostname: { kind: "text", repeat: true, help: "Name that the certificate covers" },
    ip: { kind: "text", repeat: true, help: "Address that the certificate covers" },
    role: {
      kind: "choice",
      choices: certificateRoles,
      help: "Limit what the host may do with it; default: as in --csr, else no limit",
    },
    csr: {
      kind: "path",
      placeholder: "FILE",
      help: "Answer this request, made by tls request on the host",
    },
  },
  examples: [
    { line: "agent tls mint -o /tmp/b-tls", does: "For a peer whose address may change" },
    {
      line: "agent tls mint --hostname b.lan --ip 10.0.0.6 -o /tmp/b-tls",
      does: "Covers the name that others dial",
    },
    {
      line: "agent tls mint --role worker --hostname w1.lan -o /tmp/w1-tls",
      does: "Valid for a worker with this id only",
    },
    {
      line: "agent tls mint --csr b.csr --hostname b.lan -o /tmp/b-tls",
      does: "Signs the request of b.lan, whose key stays there",
    },
  ],
  exits: { 3: "Names of a request are not confirmed, or the folder holds something else" },
  grants: ({ options, env }) => tlsGrants(env, { folders: [options.out], read: [options.csr] }),
  run: async ({ options, env }) => {
    const { mint } = await import("../../pki/operations/mint.ts");
    warnOfClock(env);
    const pki = pkiOf(env);
    const made = await mint(pki, {
      out: resolve(options.out),
      hostnames: options.hostname,
      ips: options.ip,
      csr: options.csr,
      role: certificateRoles.find((role) => role === options.role),
      confirm: ({ hostnames, ips }) =>
        confirm(env, `Certify ${[...hostnames, ...ips].join(", ")} as requested?`),
    });
    return {
      folder: made.out,
      files: made.files,
      certificate: recordOf(made.certificate, pki.now()),
      ca: recordOf(made.ca, pki.now()),
      not_certified: [...made.notCertified.hostnames, ...made.notCertified.ips],
    };
  },
  text: (made) => {
    const { folder, files, certificate, not_certified } = made;
    const hasKey = files.some((file) => file.endsWith(".key"));
    const names = files.map((file) => file.slice(folder.length + 1));
    const all = names.map((name) => shellQuoted(`${folder}/${name}`)).join(" ");
    return [
      `Wrote ${names.join(", ")} to ${folder}`,
      `  It covers ${namesText(certificate)}, and is valid until ${day(certificate.not_after)}`,
      ...certificate.role === null ? [] : [`  Limited to the role ${certificate.role}`],
      ...not_certified.length === 0
        ? []
        : [`  Not certified: ${namesText({ hostnames: not_certified, ips: [] })}`],
      "",
      `Next: scp -p ${all} HOST:`,
      hasKey
        ? "      on HOST: agent tls install --cert server.crt --key server.key --ca ca.crt"
        : "      on HOST: agent tls install --cert server.crt --ca ca.crt",
      ...hasKey
        ? [
          "      on HOST: rm server.crt server.key ca.crt",
          `      here:    rm -r ${shellQuoted(folder)}`,
          "server.key is a secret: never send it by mail or chat.",
        ]
        : [],
    ].join("\n");
  },
});
