import type { KeyObject } from "node:crypto";
import { Refusal } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/fs/atomic_file.ts";
import type { Pki } from "../directory/context.ts";
import { keyMode, publicMode, withDirectory } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import { type Certificate, pkcs8Pem, readKey } from "../x509/inspect.ts";
import { generateKey, sameKind, signingAlgorithm } from "../x509/keys.ts";
import { isEmpty, loopbackNames, type Names, parseNames, union } from "../x509/names.ts";
import { type CertificateRole, keptRole } from "../x509/roles.ts";
import { refuseInside } from "./mint.ts";
import { withoutPlaceholder } from "../directory/placeholder.ts";

export interface RequestOptions {
  /** An absolute path. */
  out: string;
  hostnames?: string[];
  ips?: string[];
}

export interface Requested {
  out: string;
  names: Names;
  /** Kept from the present certificate. */
  role: CertificateRole | undefined;
  pendingKey: string;
  /** The key of an earlier request was used again, so that an answer to that one still fits. */
  keyKept: boolean;
}

/** Makes a key that stays on this host, and the request that has it certified. */
export async function request(pki: Pki, options: RequestOptions): Promise<Requested> {
  const given = parseNames(options.hostnames ?? [], options.ips ?? []);
  refuseInside(pki.root, options.out);
  const loading = import("../x509/csr.ts");
  const detected = isEmpty(given) ? pki.detect() : undefined;
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    // A renewal must not drop an alias that only the present certificate has.
    const names = union(
      ...detected === undefined ? [given] : [detected, withoutPlaceholder(directory.san())],
      loopbackNames,
    );
    if (directory.kind() === "ca_holder") {
      throw new Refusal("This host holds the CA and can issue its own certificate", {
        next: "agent tls renew",
      });
    }
    const [ca] = readOrNothing(() => directory.caCertificates());
    const pending = pendingKey(settings.pendingKey);
    const key = pending ?? await generateKey(sameKind(ca?.keyType));
    const { makeRequest } = await loading;
    const role = keptRole(readOrNothing(() => directory.serverChain())[0]);
    const pem = await makeRequest({ key, names, role });
    if (pending === undefined) {
      await directory.save({
        files: [{ path: settings.pendingKey, data: pkcs8Pem(key), mode: keyMode }],
      });
    }
    writeFileAtomic(options.out, pem, publicMode, pki);
    return {
      out: options.out,
      names,
      role,
      pendingKey: settings.pendingKey,
      keyKept: pending !== undefined,
    };
  });
}

function pendingKey(path: string): KeyObject | undefined {
  try {
    const key = readKey(path);
    signingAlgorithm(key);
    return key;
  } catch (error) {
    // A damaged key is replaced: no certificate for it can exist.
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

/** A damaged file must not keep a host from asking for a new certificate. */
function readOrNothing(read: () => Certificate[]): Certificate[] {
  try {
    return read();
  } catch (error) {
    if (error instanceof PkiError) return [];
    throw error;
  }
}
