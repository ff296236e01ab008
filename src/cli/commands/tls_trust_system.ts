import { pkiOf } from "../../pki/directory/context.ts";
import { ownSystem, systems } from "../../pki/trust/stores.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";

const choices = Object.keys(systems);

export default command({
  path: "tls trust-system",
  summary: "Show how to make a system or browser trust this host's CA",
  description: "Only prints commands. For a browser on another machine, copy the " +
    "certificate there first: ssh HOST agent tls export-ca > ca.crt",
  options: {
    os: {
      kind: "choice",
      choices,
      help: "System of the machine with the browser; this one's by default",
    },
  },
  examples: [
    { line: "agent tls trust-system", does: "For this machine" },
    { line: "agent tls trust-system --os macos", does: "For a laptop elsewhere" },
  ],
  grants: ({ env }) => tlsGrants(env),
  run: async ({ options, env }) => {
    const { exportCa } = await import("../../pki/operations/export.ts");
    const { readTlsSettings } = await import("../../pki/directory/settings.ts");
    const pki = pkiOf(env);
    const { certificate } = await exportCa(pki);
    const { caCert } = await readTlsSettings(pki.root);
    const own = ownSystem(Deno.build.os);
    const os = options.os ?? own;
    // On another machine the file is wherever it was copied to.
    const isHere = options.os === undefined || options.os === own;
    const file = isHere ? caCert : "ca.crt";
    const name = certificate.commonName ?? certificate.subject;
    return {
      os,
      file,
      ca: name,
      fingerprint_sha256: certificate.fingerprint,
      stores: systems[os]!.map((store) => ({
        title: store.title,
        used_by: store.used,
        add: store.add(file, name),
        remove: store.remove(file, name),
      })),
    };
  },
  text: ({ os, file, ca, fingerprint_sha256, stores }) => {
    const lines = [
      `To trust the CA "${ca}", run the commands for the machine with the browser.`,
      `SHA-256 ${fingerprint_sha256}`,
      "",
      "Warning: on a machine that trusts this CA, anyone with its key can pretend to be any website.",
      "Trust it only where you need it, and keep ca.key as safe as an ssh key.",
    ];
    if (file === "ca.crt") {
      // A redirection in Windows PowerShell writes UTF-16, which no store reads.
      const copy = os === "windows"
        ? "ssh THIS-HOST agent tls export-ca -o /tmp/ca.crt; scp THIS-HOST:/tmp/ca.crt ."
        : "ssh THIS-HOST agent tls export-ca > ca.crt";
      lines.push("", `First copy it there: ${copy}`);
    }
    for (const { title, used_by, add, remove } of stores) {
      lines.push(
        "",
        `${title} (${used_by})`,
        ...add.map((line) => `    ${line}`),
        "  to undo:",
        ...remove.map((line) => `    ${line}`),
      );
    }
    lines.push("", "Then restart the browser.");
    return lines.join("\n");
  },
});
