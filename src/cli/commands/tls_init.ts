import { makeConfigFolder, tlsGrants } from "../../sandbox/tls.ts";
import { warnOfClock } from "../../pki/directory/clock_warning.ts";
import { pkiOf } from "../../pki/directory/context.ts";
import { day } from "../../pki/x509/dates.ts";
import { nameOf, namesText, recordOf } from "../../pki/x509/describe.ts";
import { keyTypes } from "../../pki/x509/key_types.ts";
import { command } from "../command.ts";

export default command({
  path: "tls init",
  summary: "Make this host's own CA and its server certificate, and turn TLS on",
  description:
    "Run it once, on the one host that signs the certificates of all others; those get " +
    "them with tls deploy, or with tls mint and tls install. Run again, it keeps the CA, and the " +
    "server certificate too if that covers this host's names. It finds names and addresses " +
    "itself; add others with --hostname and --ip.",
  options: {
    hostname: { kind: "text", repeat: true, help: "Additional name for the certificate" },
    ip: { kind: "text", repeat: true, help: "Additional address for the certificate" },
    caName: {
      kind: "text",
      placeholder: "CN",
      help: 'Name of a new CA; by default "Agent CA" and the host name',
    },
    keyType: {
      kind: "choice",
      choices: keyTypes,
      help: "Type of the new keys; browsers do not accept ed25519",
    },
    force: {
      kind: "flag",
      help: "Replace everything: no other host trusts this one until it has the new CA",
    },
  },
  examples: [
    { line: "agent tls init", does: "Covers the names and addresses found on this host" },
    {
      line: "agent tls init --hostname gpu1.example.org --ip 10.0.0.5",
      does: "Covers these too",
    },
  ],
  exits: { 3: "This host is a peer of another CA; --force overrides" },
  grants: async ({ env }) => {
    makeConfigFolder(env);
    return await tlsGrants(env);
  },
  run: async ({ options, env }) => {
    const { initTls } = await import("../../pki/operations/init.ts");
    warnOfClock(env);
    const pki = pkiOf(env);
    const made = await initTls(pki, {
      hostnames: options.hostname,
      ips: options.ip,
      caName: options.caName,
      keyType: keyTypes.find((type) => type === options.keyType),
      force: options.force,
    });
    return {
      directory: made.root,
      ca: recordOf(made.ca, pki.now()),
      ca_created: made.caMade,
      former_ca_key: made.formerCaKey ?? null,
      server: recordOf(made.server, pki.now()),
      server_created: made.serverMade,
      server_replaced_because: made.reason ?? null,
      enabled: true,
      left_out: made.leftOut,
      ca_options_unused: !made.caMade &&
        (options.caName !== undefined && options.caName !== made.ca.commonName ||
          options.keyType !== undefined && options.keyType !== made.ca.keyType),
    };
  },
  text: (made) => {
    const lines = [
      made.ca_created
        ? `Made the CA "${nameOf(made.ca)}", valid until ${day(made.ca.not_after)}`
        : `Kept the CA "${nameOf(made.ca)}", valid until ${day(made.ca.not_after)}`,
      `  SHA-256 ${made.ca.fingerprint_sha256}`,
    ];
    if (made.ca_options_unused) {
      lines.push(
        "  --ca-name and --key-type are for a new CA; to replace this one: tls init --force",
      );
    }
    if (made.former_ca_key !== null) {
      lines.push(
        "  No host trusts it yet: give each a certificate of it, with agent tls deploy or tls mint",
        `  The previous CA's key is in ${made.former_ca_key}; delete it when everything works`,
      );
    }
    const because = made.server_replaced_because;
    lines.push(
      made.server_created
        ? `Made the server certificate${because === null ? "" : ` again, because ${because}`}`
        : "Kept the server certificate, which covers this host's names",
      `  It covers ${namesText(made.server)}, and is valid until ${day(made.server.not_after)}`,
    );
    if (made.left_out.length > 0) {
      lines.push(
        `  Left out, because 32 were found before them: ${
          namesText({ hostnames: made.left_out, ips: [] })
        }`,
      );
      lines.push("  To cover one of them: agent tls renew --add-hostname NAME or --add-ip ADDRESS");
    }
    lines.push(
      `All files are in ${made.directory}`,
      "Coordinators, workers and clients here use it with --peer.insecure=false",
      "",
      "Next: agent tls mint --hostname NAME -o DIR   a certificate for each other host",
      "      agent tls trust-system                  browsers on this machine accept it",
      `Keep a copy of ${made.directory}/ca in a safe place: nothing can replace its key.`,
    );
    return lines.join("\n");
  },
});
