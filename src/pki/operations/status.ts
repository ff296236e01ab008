/** The warnings and notes of `tls status`: a pure function of what was found and of now. */
import { join } from "node:path";
import { journalName } from "../../base/fs/recovery_journal.ts";
import { previousPrefix } from "../directory/bundle.ts";
import { day } from "../x509/dates.ts";
import { NoChainError, PkiError } from "../errors.ts";
import type { Certificate } from "../x509/inspect.ts";
import { flagsOf, isEmpty, listNames, loopbackNames, missing, union } from "../x509/names.ts";
import { placeholderName } from "../directory/placeholder.ts";
import { isWithin } from "../../base/fs/paths.ts";
import type { TlsState } from "../directory/state.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";
import { daysLeft, expiresSoon } from "../x509/renewal.ts";
import { chainOf } from "../x509/chain.ts";
import { checkServer, maySignIn } from "../x509/validate.ts";

export type WarningCode =
  | "not_set_up"
  | "disabled"
  | "interrupted"
  | "damaged"
  | "expired"
  | "expires_soon"
  | "not_yet_valid"
  | "san_gap"
  | "exposed"
  | "key_mismatch"
  | "key_missing"
  | "certificate_missing"
  | "previous_ca"
  | "foreign_ca"
  | "unusable"
  | "nothing_trusted"
  | "bundle_stale";

export interface Warning {
  code: WarningCode;
  message: string;
  /** The command that fixes it. */
  command: string;
}

const askForNew = "agent tls request -o request.csr";

/** Everything that is wrong or soon will be, most serious first. */
export function warningsOf(state: TlsState, now: number): Warning[] {
  if (state.kind === "none") {
    return [
      ...interrupted(state),
      {
        code: "not_set_up",
        message: state.isPending
          ? "The answer to this host's request is not installed yet"
          : `The first host of a cluster makes the CA, as below; the others ask it: ${askForNew}`,
        command: state.isPending
          ? "agent tls install --cert server.crt --ca ca.crt"
          : "agent tls init",
      },
    ];
  }
  return [
    ...interrupted(state),
    ...damaged(state),
    ...keys(state),
    ...dates(state, now),
    ...chain(state),
    ...exposed(state),
    ...switchedOff(state),
    ...gaps(state),
    ...bundle(state),
  ];
}

/** Facts worth knowing that are no problem. */
export function notesOf(state: TlsState): string[] {
  const notes: string[] = [];
  if (state.isPending) {
    notes.push("A certificate request is pending: agent tls install --cert FILE");
  }
  if (coversPlaceholder(state)) {
    notes.push(
      "The certificate names no address: agent peers trust it by its CA, browsers will not",
    );
  }
  const [leaf] = listOf(state.server);
  if (leaf !== undefined && !maySignIn(leaf)) {
    notes.push("The certificate is for servers only: this host cannot call its peers with it");
  }
  for (const key of state.settings.unknownKeys) {
    notes.push(`config.yaml has a key that agent does not know: ${key}`);
  }
  return notes;
}

function interrupted(state: TlsState): Warning[] {
  if (!state.isUnfinished) return [];
  const message = "A command was stopped in the middle of a change";
  return [{ code: "interrupted", ...repairable(message, state) }];
}

/** A problem that the next `agent tls status` fixes, unless something prevents it. */
function repairable(
  message: string,
  { obstacle, settings }: TlsState,
): { message: string; command: string } {
  if (obstacle === undefined) return { message, command: "agent tls status" };
  const journal = join(settings.root, journalName);
  const command = obstacle.code === "unknown_journal"
    ? `rm ${shellQuoted(journal)}`
    : obstacle.code === "locked"
    ? "agent tls status"
    : `ls -ld ${shellQuoted(settings.root)}`;
  return {
    message: `${message}, and agent cannot fix it by itself: ${inSentence(obstacle.message)}`,
    command,
  };
}

function inSentence(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

function damaged(state: TlsState): Warning[] {
  const { ca, caKeyFits, server, serverKeyFits, trusted, kind, settings } = state;
  const again = kind === "ca_holder" ? "agent tls renew" : askForNew;
  const broken: [unknown, string][] = [
    [ca, "agent tls install --ca FILE"],
    [caKeyFits, "restore the ca folder from its copy"],
    [server, again],
    [serverKeyFits, again],
    [settings.sanFault, `\${EDITOR:-vi} ${shellQuoted(settings.config)}`],
    ...trusted.map((
      { certificates, path },
    ): [unknown, string] => [certificates, `rm ${shellQuoted(path)}`]),
  ];
  return broken.flatMap(([what, command]) =>
    what instanceof PkiError
      ? [{
        code: "damaged",
        message: what.message,
        command: what.code === "file_unreadable"
          ? `ls -l ${shellQuoted(what.file ?? "")}`
          : command,
      }]
      : []
  );
}

function keys(state: TlsState): Warning[] {
  const { ca, caKeyFits, server, serverKeyFits, kind, settings } = state;
  const again = kind === "ca_holder" ? "agent tls renew" : askForNew;
  const found: Warning[] = [];
  if (caKeyFits === false) {
    found.push(
      ca === undefined
        ? {
          code: "certificate_missing",
          message: `The CA's certificate is missing at "${settings.caCert}"`,
          command: `cp COPY/ca.crt ${shellQuoted(settings.caCert)}`,
        }
        : {
          code: "key_mismatch",
          message: "The CA's key does not belong to its certificate",
          command: "restore the ca folder from its copy",
        },
    );
  }
  if (server === undefined) {
    found.push({
      code: "certificate_missing",
      message: "This host has no server certificate",
      command: kind === "ca_holder" ? "agent tls init" : askForNew,
    });
  } else if (serverKeyFits === undefined) {
    found.push({
      code: "key_missing",
      message: `The key of the server certificate is missing at "${settings.serverKey}"`,
      command: again,
    });
  } else if (serverKeyFits === false && Array.isArray(server)) {
    found.push({
      code: "key_mismatch",
      message: "The server key does not belong to the server certificate",
      command: again,
    });
  }
  return found;
}

function dates({ ca, server, trusted, kind }: TlsState, now: number): Warning[] {
  const holder = kind === "ca_holder";
  const all: [string, Certificate[], string][] = [
    ["CA", listOf(ca), holder ? "agent tls renew --ca" : "agent tls renew --ca on the CA's host"],
    ["server", listOf(server).slice(0, 1), holder ? "agent tls renew" : askForNew],
    ["intermediate", listOf(server).slice(1), holder ? "agent tls renew" : askForNew],
    ...trusted.map(({ label, certificates, path }): [string, Certificate[], string] => [
      `trusted CA "${label}"`,
      listOf(certificates),
      label.startsWith(previousPrefix)
        ? "agent tls renew --distrust-previous"
        : `rm ${shellQuoted(path)}; agent tls import-ca NEW.crt`,
    ]),
  ];
  return all.flatMap(([what, certificates, command]) =>
    certificates.flatMap((certificate): Warning[] => {
      const { notBefore, notAfter } = certificate;
      const named = what.startsWith("trusted") ? what : `${what} certificate`;
      if (now > notAfter.getTime()) {
        const message = `The ${named} expired on ${day(notAfter)}`;
        return [{ code: "expired", message, command }];
      }
      if (now < notBefore.getTime()) {
        return [{
          code: "not_yet_valid",
          message: `The ${named} is valid only from ${day(notBefore)}: this host's clock may lag`,
          command: "date",
        }];
      }
      if (!expiresSoon(certificate, now)) return [];
      const left = daysLeft(certificate, now);
      const message = `The ${named} expires in ${left} ${left === 1 ? "day" : "days"}`;
      return [{ code: "expires_soon", message, command }];
    })
  );
}

function chain({ ca, server, trusted, kind, settings }: TlsState): Warning[] {
  const own = listOf(ca);
  const chain = listOf(server);
  const [leaf] = chain;
  if (leaf === undefined || ca instanceof PkiError) return [];
  const again = kind === "ca_holder" ? "agent tls renew" : askForNew;
  const roots = [...own, ...trusted.flatMap(({ certificates }) => listOf(certificates))];
  if (roots.length === 0) {
    return [{
      code: "nothing_trusted",
      message: "This host trusts no CA, so it can call no other host",
      command: "agent tls install --ca FILE",
    }];
  }
  const unusable = (fault: PkiError): Warning[] => [{
    code: "unusable",
    message: `No other host accepts the server certificate: ${inSentence(fault.message)}`,
    command: again,
  }];
  const fault = serverFault(leaf) ?? chainFault(chain, own);
  if (fault === undefined) return [];
  if (!(fault instanceof NoChainError)) return unusable(fault);
  const previous = trusted.filter(({ label }) => label.startsWith(previousPrefix))
    .flatMap(({ certificates }) => listOf(certificates));
  if (own.length > 0 && chainFault(chain, previous) === undefined) {
    return [{
      code: "previous_ca",
      message:
        "The server certificate is of the previous CA: hosts that distrust it refuse this one",
      command: again,
    }];
  }
  const otherFault = chainFault(chain, roots);
  if (otherFault === undefined) return [];
  if (!(otherFault instanceof NoChainError)) return unusable(otherFault);
  const elsewhere = !isWithin(settings.root, settings.serverCert);
  return [{
    code: "foreign_ca",
    message:
      `The server certificate was issued by "${leaf.issuer}", which this host does not trust`,
    command: elsewhere ? "agent tls import-ca FILE" : again,
  }];
}

/** Why TLS cannot use the host's own certificate, without regard to its chain. */
function serverFault(leaf: Certificate): PkiError | undefined {
  try {
    checkServer(leaf, "server.crt");
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

function exposed({ exposed: found }: TlsState): Warning[] {
  return found.map(({ path, mode, wanted }) => ({
    code: "exposed",
    message: `"${path}" has mode ${mode.toString(8).padStart(4, "0")}, others can reach it`,
    command: `chmod ${wanted.toString(8)} ${shellQuoted(path)}`,
  }));
}

function switchedOff({ settings, server }: TlsState): Warning[] {
  return settings.enabled || !Array.isArray(server) ? [] : [{
    code: "disabled",
    message: "There is a certificate, but TLS is off",
    command: "agent tls enable",
  }];
}

function gaps(state: TlsState): Warning[] {
  const { server, detected, kind, settings } = state;
  const [leaf] = listOf(server);
  if (leaf === undefined || (coversPlaceholder(state) && !settings.verifyHostname)) return [];
  const wanted = { hostnames: detected.hostnames, ips: detected.ips };
  const gap = missing(wanted, leaf);
  if (isEmpty(gap)) return [];
  return [{
    code: "san_gap",
    message: `The server certificate does not cover ${listNames(gap)}`,
    command: kind === "ca_holder"
      ? `agent tls renew ${flagsOf(gap, "--add-hostname", "--add-ip")}`
      : askForNew,
  }];
}

function bundle(state: TlsState): Warning[] {
  // The warning about the interrupted change names the obstacle already.
  if (!state.bundleIsStale || (state.isUnfinished && state.obstacle !== undefined)) return [];
  const message = "The trust bundle does not match the CAs that this host trusts";
  return [{ code: "bundle_stale", ...repairable(message, state) }];
}

/** Whether `mint` issued it without names. */
function coversPlaceholder({ server }: TlsState): boolean {
  const [leaf] = listOf(server);
  if (leaf === undefined) return false;
  const placeholder = { hostnames: [placeholderName], ips: [] };
  return leaf.hostnames.includes(placeholderName) &&
    isEmpty(missing(leaf, union(placeholder, loopbackNames)));
}

/** Why there is no way to one of the roots that TLS would go; undefined where there is one. */
function chainFault(server: Certificate[], roots: Certificate[]): PkiError | undefined {
  const [leaf, ...between] = server;
  try {
    // The dates have warnings of their own.
    chainOf(leaf!, between, roots, "server.crt");
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

function listOf(found: unknown): Certificate[] {
  return Array.isArray(found) ? found : [];
}
