import { UserError, type UserErrorOptions } from "../base/errors.ts";

/** What can be wrong with keys, certificates and the TLS directory. Match this, never the text. */
export type PkiCode =
  | "file_not_found"
  | "file_unreadable"
  | "file_too_large"
  | "file_unwritable"
  | "not_pem"
  | "bad_certificate"
  | "no_certificate"
  | "bad_key"
  | "no_key"
  | "encrypted_key"
  | "unsupported_key"
  | "key_mismatch"
  /** Whole, and a TLS handshake with it fails all the same. */
  | "unusable_pair"
  | "not_a_ca"
  | "wrong_key_usage"
  | "bad_chain"
  | "expired"
  | "not_yet_valid"
  | "bad_name"
  | "bad_request"
  | "bad_settings"
  | "no_ca_key"
  | "no_ca"
  | "no_server_certificate"
  | "locked";

/** An error of keys, certificates or the TLS directory, with its code and the file it is about. */
export class PkiError extends UserError {
  override name = "PkiError";
  declare readonly code: PkiCode;
  /** The file that the error is about, where there is one. */
  readonly file: string | undefined;

  constructor(
    code: PkiCode,
    message: string,
    options: Omit<UserErrorOptions, "code"> & { file?: string | undefined } = {},
  ) {
    super(message, { ...options, code });
    this.file = options.file;
  }
}

/** There is no way at all from a certificate to a trusted CA, good or bad. */
export class NoChainError extends PkiError {
  override name = "NoChainError";

  constructor(message: string, options: { next: string; file: string }) {
    super("bad_chain", message, options);
  }
}
