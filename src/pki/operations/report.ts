import { UserError } from "../../base/errors.ts";
import { isUnfinished } from "../../base/fs/recovery_journal.ts";
import type { Pki } from "../directory/context.ts";
import { type CertificateRecord, recordOf } from "../x509/describe.ts";
import { type HostKind, withDirectory } from "../directory/tls_directory.ts";
import type { Certificate } from "../x509/inspect.ts";
import { journalError, loadState, type TlsState } from "../directory/state.ts";
import { notesOf, type Warning, warningsOf } from "./status.ts";

/** The result of `tls status`, as `--json` prints it. */
export interface StatusReport {
  host: HostKind;
  enabled: boolean;
  auto_on_non_loopback: boolean;
  verify_hostname: boolean;
  directory: string;
  paths: Record<string, string>;
  ca: CertificateRecord | null;
  ca_key: "present" | "absent";
  server: CertificateRecord | null;
  pending_request: boolean;
  trusted: { label: string; file: string; certificates: CertificateRecord[] }[];
  detected: { hostname: string; hostnames: string[]; ips: string[]; left_out: string[] };
  bundle_rebuilt: boolean;
  notes: string[];
  warnings: Warning[];
}

/** Reads the directory and, with `repair`, rebuilds a trust bundle that is out of date. */
export async function reportStatus(
  pki: Pki,
  { repair }: { repair: boolean },
): Promise<StatusReport> {
  await quiet(pki);
  let state = await loadState(pki);
  // Only derived files, and a change that another command had already committed.
  const canRepair = state.bundleIsStale || state.isUnfinished;
  let rebuilt = false;
  if (repair && canRepair) {
    const obstacle = await rebuild(pki);
    rebuilt = state.bundleIsStale && obstacle === undefined;
    state = await loadState(pki);
    state.obstacle ??= obstacle;
  }
  return reportOf(state, pki.now(), rebuilt);
}

/** Waits while another command runs: its journal exists for some milliseconds, without a crash. */
async function quiet({ root }: Pki): Promise<void> {
  for (const end = performance.now() + 500; hasSoundJournal(root) && performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A journal that is not understood belongs to no running command. */
function hasSoundJournal(root: string): boolean {
  return isUnfinished(root) && journalError(root) === undefined;
}

/** Returns the error that prevented it, if any. */
async function rebuild(pki: Pki): Promise<UserError | undefined> {
  try {
    await withDirectory(pki, (directory) => directory.save({ keepModes: true }));
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

function reportOf(state: TlsState, now: number, rebuilt: boolean): StatusReport {
  const { settings, detected } = state;
  const first = (found: unknown) =>
    Array.isArray(found) ? recordOf(found[0] as Certificate, now) : null;
  return {
    host: state.kind,
    enabled: settings.enabled,
    auto_on_non_loopback: settings.autoOnNonLoopback,
    verify_hostname: settings.verifyHostname,
    directory: settings.root,
    paths: {
      ca_cert: settings.caCert,
      ca_key: settings.caKey,
      ca_serial: settings.caSerial,
      server_cert: settings.serverCert,
      server_key: settings.serverKey,
      ca_bundle: settings.caBundle,
      trusted_dir: settings.trustedDir,
    },
    ca: first(state.ca),
    ca_key: state.caKeyFits === undefined ? "absent" : "present",
    server: first(state.server),
    pending_request: state.isPending,
    trusted: state.trusted.map(({ label, path, certificates }) => ({
      label,
      file: path,
      certificates: Array.isArray(certificates)
        ? certificates.map((certificate) => recordOf(certificate, now))
        : [],
    })),
    detected: {
      hostname: detected.hostname,
      hostnames: detected.hostnames,
      ips: detected.ips,
      left_out: detected.leftOut,
    },
    bundle_rebuilt: rebuilt,
    notes: notesOf(state),
    warnings: warningsOf(state, now),
  };
}
