import { exitCode } from "../../base/errors.ts";
import { type CertificateRecord, nameOf } from "../../pki/x509/describe.ts";
import { pkiOf } from "../../pki/directory/context.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";
import { colors } from "../output/terminal.ts";

export default command({
  path: "tls status",
  summary: "Show this host's certificates and any problems",
  description: "Each warning names the command that fixes it. A trust bundle that no longer " +
    "matches the CAs is rebuilt.",
  options: {
    check: { kind: "flag", help: "For cron: write nothing, and exit with 3 on any warning" },
  },
  examples: [
    { line: "agent tls status", does: "Show one page" },
    { line: "agent tls status --check", does: "Exit code 3 on any warning" },
  ],
  exits: { 3: "With --check: there is a problem" },
  grants: ({ env }) => tlsGrants(env),
  run: async ({ options, env }) => {
    const { reportStatus } = await import("../../pki/operations/report.ts");
    return { ...await reportStatus(pkiOf(env), { repair: !options.check }), check: options.check };
  },
  exit: (report) => report.check && report.warnings.length > 0 ? exitCode.attention : exitCode.done,
  text: (report, { env }) => {
    // cron sends a mail for any output.
    if (report.check && report.warnings.length === 0) return "";
    const { green, yellow } = colors(env.stdout);
    const lines = [`${headline[report.host]}; TLS is ${report.enabled ? "on" : "off"}`, ""];
    if (report.ca !== null) {
      lines.push(...certificateLines("CA", nameOf(report.ca), report.ca));
    }
    if (report.server !== null) {
      const { hostnames, ips, issuer, key_type, role } = report.server;
      lines.push(...certificateLines("Server", wrapped([...hostnames, ...ips]), report.server));
      lines.push(`${margin}${key_type}, issued by ${nameOf({ subject: issuer })}`);
      if (role !== null) lines.push(`${margin}limited to the role ${role}`);
    }
    for (const { label, certificates } of report.trusted) {
      for (const certificate of certificates) {
        const name = `${nameOf(certificate)} (${label})`;
        lines.push(...certificateLines("Trusts", name, certificate));
      }
    }
    lines.push(`${"Folder".padEnd(margin.length)}${report.directory}`, "");
    if (report.bundle_rebuilt) lines.push("Rebuilt the trust bundle, which was out of date", "");
    for (const note of report.notes) lines.push(`Note: ${note}`);
    if (report.notes.length > 0) lines.push("");
    if (report.warnings.length === 0) lines.push(green("No problems."));
    for (const { message, command } of report.warnings) {
      lines.push(`${yellow("!")} ${message}`, `    ${command}`);
    }
    return lines.join("\n");
  },
});

const headline = {
  ca_holder: "This host has the CA and signs the certificates of the others",
  peer: "This host has a certificate of another host's CA",
  none: "This host has no certificates yet",
} as const;

const margin = " ".repeat(9);
const barLength = 20;

function certificateLines(kind: string, what: string, certificate: CertificateRecord): string[] {
  const { not_before, not_after, days_left, fingerprint_sha256 } = certificate;
  const span = Date.parse(not_after) - Date.parse(not_before);
  const share = Math.min(1, Math.max(0, days_left * 86_400_000 / span));
  const full = Math.round(share * barLength);
  const bar = `[${"#".repeat(full)}${".".repeat(barLength - full)}]`;
  const left = days_left < 0
    ? `expired ${-days_left} ${-days_left === 1 ? "day" : "days"} ago`
    : `${days_left} ${days_left === 1 ? "day" : "days"} left`;
  return [
    `${kind.padEnd(margin.length)}${what}`,
    `${margin}${bar} ${left}, until ${not_after.slice(0, 10)}`,
    `${margin}SHA-256 ${fingerprint_sha256}`,
  ];
}

/** Names in lines that fit a terminal. */
function wrapped(names: string[]): string {
  const lines = [""];
  for (const name of names) {
    const last = lines.at(-1)!;
    if (last.length + name.length > 84) lines.push(`${name}, `);
    else lines[lines.length - 1] = `${last}${name}, `;
  }
  return lines.map((line) => line.trimEnd()).join(`\n${margin}`).replace(/,$/, "");
}
