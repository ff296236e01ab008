import { ServerCredentials } from "@grpc/grpc-js";
import { type Credentials, type Loaded, readCredentials } from "../../tls/credentials.ts";
import type { TlsMode } from "../../tls/mode.ts";

/** Server credentials that later connections take from the files as they then are. */
export class TlsServerCredentials extends ServerCredentials {
  readonly files: Credentials;

  private constructor(mode: TlsMode, files: Credentials) {
    const mutual = mode.clientCaFile !== undefined;
    super({
      requestCert: mutual,
      rejectUnauthorized: mutual,
      minVersion: "TLSv1.2",
    }, contextOf(files.loaded()));
    this.files = files;
  }

  /** @throws {UserError} where the files are not usable. */
  static async from(mode: TlsMode): Promise<TlsServerCredentials> {
    const changed = (loaded: Loaded) => made.update(loaded);
    const files = await readCredentials(mode, { prove: true, changed });
    const made: TlsServerCredentials = new TlsServerCredentials(mode, files);
    return made;
  }

  update(loaded: Loaded): void {
    this.updateSecureContextOptions(contextOf(loaded));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function contextOf({ pair, ca }: Loaded) {
  return {
    ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
    ...(ca === undefined ? {} : { ca: ca.pem }),
  };
}
