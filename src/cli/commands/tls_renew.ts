import { Refusal } from "../../base/errors.ts";
import { warnOfClock } from "../../pki/directory/clock_warning.ts";
import { pkiOf } from "../../pki/directory/context.ts";
import { day } from "../../pki/x509/dates.ts";
import { nameOf, namesText, recordOf } from "../../pki/x509/describe.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";
import { confirm } from "../confirm.ts";

export default command({
  path: "tls renew",
  summary: "Renew this host's certificate, or the CA itself",
  description:
    "By default the server certificate, with its names and added ones. With --ca the CA " +
    "gets a new key and certificate; the previous one stays trusted until --distrust-previous, so " +
    "the cluster keeps working while hosts get the new ca.crt.",
  options: {
    server: { kind: "flag", help: "The server certificate; the default" },
    ca: { kind: "flag", help: "The CA, and with it the server certificate" },
    addHostname: { kind: "text", repeat: true, help: "Additional name, kept for later renewals" },
    addIp: { kind: "text", repeat: true, help: "Additional address, kept for later renewals" },
    distrustPrevious: {
      kind: "flag",
      help: "Stop trusting previous CAs; alone, it does only that",
    },
    yes: { kind: "flag", help: "Do not ask before the CA is renewed" },
  },
  examples: [
    { line: "agent tls renew", does: "A new server certificate for the same names" },
    {
      line: "agent tls renew --add-hostname new.lan --add-ip 10.0.0.7",
      does: "Also covers these from now on",
    },
    { line: "agent tls renew --ca", does: "A new CA; peers need its ca.crt, then certificates" },
    {
      line: "agent tls renew --ca --distrust-previous",
      does: "After the CA's key was stolen: the old CA is no longer trusted",
    },
  ],
  exits: { 3: "Renewing the CA was not confirmed; use --yes" },
  grants: ({ env }) => tlsGrants(env),
  run: async ({ options, env }) => {
    const { checkRenewable, distrustPrevious, renewCa, renewServer } = await import(
      "../../pki/operations/renew.ts"
    );
    warnOfClock(env);
    const pki = pkiOf(env);
    const wanted = {
      addHostnames: options.addHostname,
      addIps: options.addIp,
      distrustPrevious: options.distrustPrevious,
    };
    const onlyDistrust = options.distrustPrevious && !options.ca && !options.server &&
      options.addHostname.length + options.addIp.length === 0;
    if (options.ca) await checkRenewable(pki);
    if (options.ca && !options.yes && !await confirm(env, question(options.distrustPrevious))) {
      throw new Refusal("Renewing the CA changes which CA every host must trust", {
        next: `agent tls renew --ca ${options.distrustPrevious ? "--distrust-previous " : ""}--yes`,
      });
    }
    const made = onlyDistrust
      ? await distrustPrevious(pki)
      : options.ca
      ? await renewCa(pki, wanted)
      : await renewServer(pki, wanted);
    return {
      directory: made.root,
      server: made.server === undefined || onlyDistrust ? null : recordOf(made.server, pki.now()),
      ca: made.ca === undefined ? null : recordOf(made.ca, pki.now()),
      ca_renewed: made.caRenewed,
      previous_ca: made.previous ?? null,
      distrusted: made.distrusted,
    };
  },
  text: (made) => {
    const lines: string[] = [];
    if (made.ca_renewed && made.ca !== null) {
      lines.push(
        `Renewed the CA "${nameOf(made.ca)}", valid until ${day(made.ca.not_after)}`,
        `  SHA-256 ${made.ca.fingerprint_sha256}`,
      );
    }
    if (made.server !== null) {
      lines.push(
        `Renewed the server certificate, valid until ${day(made.server.not_after)}`,
        `  It covers ${namesText(made.server)}`,
      );
    }
    lines.push(...made.distrusted.map((label) => `No longer trusted: ${label}`));
    if (made.server === null && made.distrusted.length === 0) {
      lines.push("No previous CA was trusted; nothing has changed");
    }
    if (!made.ca_renewed) {
      lines.push(
        "",
        "Coordinators and workers reload it by themselves; restart other servers that use the files",
      );
    } else if (made.previous_ca === null) {
      lines.push(
        "",
        "Open connections continue: restart the coordinators and workers of this host.",
        "No peer is trusted until it has a new certificate. Next, for each peer:",
        "      agent tls mint -o DIR, copy DIR to it, and on the peer:",
        "      agent tls install --force --cert server.crt --key server.key --ca ca.crt",
      );
    } else {
      lines.push(
        `The previous CA stays trusted as ${made.previous_ca}`,
        "",
        "Next: agent tls export-ca -o /tmp/new-ca.crt, copy it to every peer, and on each:",
        "        agent tls install --ca new-ca.crt",
        "      then give every peer a new certificate, as at its set-up",
        "      once all have them, on every host: agent tls renew --distrust-previous",
      );
    }
    return lines.join("\n");
  },
});

function question(distrusts: boolean): string {
  return distrusts
    ? "Every peer is cut off until it has the new CA and a new certificate."
    : "Every peer needs the new CA's certificate, and later its own certificate of the new CA.";
}
