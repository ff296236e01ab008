import { day } from "../../pki/x509/dates.ts";
import { nameOf, namesText, recordOf } from "../../pki/x509/describe.ts";
import { UsageError } from "../../base/errors.ts";
import { pkiOf } from "../../pki/directory/context.ts";
import { makeConfigFolder, tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";
import { certificatesInput, inputName } from "../read_certificates.ts";

export default command({
  path: "tls install",
  summary: "Install a certificate that a CA elsewhere made for this host",
  description:
    "Checks that certificate and key are a pair, that the certificate leads to the CA, " +
    "that the CA is a CA, its purpose and its dates; if any check fails, nothing changes. Without " +
    "--key the key of tls request is used. With --ca alone only the trusted CA changes, and the " +
    "previous one stays trusted.",
  options: {
    cert: {
      kind: "path",
      placeholder: "FILE",
      help: "Certificate for this host, with its intermediates",
    },
    key: { kind: "path", placeholder: "FILE", help: "Its private key" },
    ca: {
      kind: "path",
      placeholder: "FILE",
      help: "Certificate of the CA that made it; - reads standard input",
    },
    force: { kind: "flag", help: "Change this host to another CA" },
  },
  examples: [
    {
      line: "agent tls install --cert server.crt --key server.key --ca ca.crt",
      does: "Install what tls mint wrote on the CA's host",
    },
    {
      line: "agent tls install --cert server.crt --ca ca.crt",
      does: "Install the answer to this host's tls request",
    },
    { line: "agent tls install --ca new-ca.crt", does: "After tls renew --ca on the CA's host" },
  ],
  exits: { 3: "This host has another CA; --force overrides" },
  grants: async ({ options: { cert, key, ca }, env }) => {
    if (cert === undefined && ca === undefined) {
      throw new UsageError('"agent tls install" needs --cert, or --ca alone', {
        next: "agent tls install --cert server.crt --key server.key --ca ca.crt",
      });
    }
    if (cert === undefined && key !== undefined) {
      throw new UsageError("--key goes with --cert", {
        next: "agent tls install --cert server.crt --key server.key --ca ca.crt",
      });
    }
    makeConfigFolder(env);
    return await tlsGrants(env, { read: [cert, key, ca === inputName ? undefined : ca] });
  },
  run: async ({ options, env }) => {
    const { install } = await import("../../pki/operations/install.ts");
    const { provePair } = await import("../../tls/prove.ts");
    const pki = { ...pkiOf(env), prove: provePair };
    const caText = await certificatesInput(env, options.ca);
    const made = await install(pki, { ...options, caText });
    return {
      directory: made.root,
      server: made.server === undefined ? null : recordOf(made.server, pki.now()),
      ca: made.ca === undefined ? null : recordOf(made.ca, pki.now()),
      ca_changed: made.caChanged,
      previous_ca: made.previous ?? null,
      former_ca_key: made.formerCaKey ?? null,
      used_pending_key: made.usedPendingKey,
      can_call_peers: !made.cannotSignIn,
      names_not_kept: made.namesNotKept,
    };
  },
  text: (made) => {
    const lines: string[] = [];
    if (made.server !== null) {
      lines.push(
        `Installed the certificate of ${nameOf(made.server)}, valid until ${
          day(made.server.not_after)
        }`,
        `  It covers ${namesText(made.server)}`,
      );
      if (made.server.role !== null) lines.push(`  It is limited to the role ${made.server.role}`);
      if (made.names_not_kept.length > 0) {
        const names = namesText({ hostnames: made.names_not_kept, ips: [] });
        lines.push(`  Unusual names, which a later agent tls request does not ask for: ${names}`);
      }
      if (!made.can_call_peers) {
        lines.push("  It is for servers only: this host cannot use it as a client");
      }
    }
    if (made.ca === null) {
      lines.push(
        "  No CA was given, so this host trusts none yet: agent tls install --ca FILE",
      );
    } else if (made.ca_changed) {
      lines.push(`This host trusts the CA "${nameOf(made.ca)}"`);
      lines.push(`  SHA-256 ${made.ca.fingerprint_sha256}`);
    } else if (made.server === null) {
      lines.push(`This host already trusts the CA "${nameOf(made.ca)}"; nothing has changed`);
    }
    if (made.previous_ca !== null) {
      lines.push(
        `The previous CA stays trusted as ${made.previous_ca}; once every host has the new one:`,
        "  agent tls renew --distrust-previous",
      );
    }
    if (made.former_ca_key !== null) {
      lines.push(`The key of the previous CA is in ${made.former_ca_key}`);
    }
    lines.push(
      "",
      made.server !== null
        ? "Coordinators, workers and clients use it with --peer.insecure=false. Next: agent tls status"
        : "Next: agent tls status. Coordinators and workers reload it by themselves",
    );
    return lines.join("\n");
  },
});
