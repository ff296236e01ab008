import { UserError } from "../base/errors.ts";
import {
  type Certificate,
  type Pair,
  parseCertificates,
  readPair,
  readSmallText,
} from "../pki/inspect.ts";
import type { TlsMode } from "./mode.ts";

/** What one side proves itself with, and what it believes. */
export interface Loaded {
  pair: Pair | undefined;
  ca: { pem: string; certificates: Certificate[] } | undefined;
}

/** Reads the files of a mode. */
export async function readCredentials(mode: TlsMode): Promise<Loaded> {
  const { certFile, keyFile, caFile } = mode;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new UserError("A certificate needs its key, and a key its certificate", {
      next: "Set both peer.cert_file and peer.key_file",
    });
  }
  const pair = certFile === undefined ? undefined : await readPair(certFile, keyFile!);
  return { pair, ca: caFile === undefined ? undefined : await readCa(caFile) };
}

async function readCa(file: string): Promise<NonNullable<Loaded["ca"]>> {
  const pem = await readSmallText(file);
  return { pem, certificates: parseCertificates(pem, file) };
}
