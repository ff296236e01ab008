import type { Bytes } from "./der.ts";
import { PkiError } from "../errors.ts";

/** One block between BEGIN and END. */
export interface PemBlock {
  /** As in the BEGIN line: "CERTIFICATE". */
  label: string;
  der: Bytes;
  /** A key that is encrypted in OpenSSL's old way says so in a header within the block. */
  encrypted: boolean;
}

/**
 * Finds the PEM blocks in a text as other tools write it: any line ends, comments before, between
 * and after blocks, headers within them, any line length.
 *
 * @param source what the text is, for errors: a file's name.
 */
export function parsePem(text: string, source: string): PemBlock[] {
  const fail = (what: string) => {
    throw new PkiError("not_pem", `"${source}" is not a PEM file: ${what}`, {
      next: "Give a file with lines such as -----BEGIN CERTIFICATE-----",
      file: source,
    });
  };
  if (text.includes("\0")) {
    fail("it holds NUL bytes");
  }
  const blocks: PemBlock[] = [];
  let label: string | undefined;
  let body: string[] = [];
  for (const line of text.split(/\r\n|\r|\n/)) {
    const mark = /^\s*-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----\s*$/.exec(line);
    if (mark === null) {
      if (label !== undefined) body.push(line.trim());
    } else if (mark[1] === "BEGIN") {
      if (label !== undefined) fail(`a block of "${label}" has no end`);
      label = mark[2];
      body = [];
    } else if (label !== mark[2]) {
      fail(`"END ${mark[2]}" has no beginning`);
    } else {
      blocks.push(block(label!, body, fail));
      label = undefined;
    }
  }
  if (label !== undefined) fail(`the block of "${label}" is cut off`);
  return blocks;
}

/** Writes a block with lines of 64 characters, as RFC 7468 asks. */
export function toPem(label: string, der: Bytes): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

export function certificatePem(der: Bytes): string {
  return toPem("CERTIFICATE", der);
}

/** Certificates in the one form of PEM that every program reads, without the rest of their file. */
export function pemOf(certificates: { der: Bytes }[]): string {
  return certificates.map(({ der }) => certificatePem(der)).join("");
}

function block(label: string, lines: string[], fail: (what: string) => void): PemBlock {
  // RFC 1421 headers, which end with an empty line.
  const hasHeaders = lines.some((line) => /^[A-Za-z-]+:/.test(line));
  const gap = lines.indexOf("");
  const body = (hasHeaders && gap >= 0 ? lines.slice(gap) : lines).join("");
  const encrypted = hasHeaders && lines.some((line) => /^Proc-Type:.*ENCRYPTED/.test(line));
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(body) || body.length % 4 !== 0) {
    fail(`the block of "${label}" is not base64`);
  }
  return { label, der: fromBase64(body), encrypted };
}

function toBase64(bytes: Bytes): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

function fromBase64(text: string): Bytes {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
