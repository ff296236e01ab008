/** Recognises files that hold a certificate or key in another form than PEM, with the way out. */
import { type Bytes, child, children, readDer, readOid, tag } from "./der.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";

export interface OtherFormat {
  /** The end of the sentence "FILE is …". */
  what: string;
  /** The command that converts it. */
  next: string;
}

/** The format of a file that is no PEM; undefined where it may be PEM. */
export function otherFormat(bytes: Bytes, file: string): OtherFormat | undefined {
  const quoted = shellQuoted(file);
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return {
      what: "text in UTF-16, as Windows PowerShell writes it",
      next: `iconv -f UTF-16 -t UTF-8 ${quoted} > converted.pem`,
    };
  }
  if (first !== tag.sequence) return undefined;
  const kind = derKind(bytes);
  return kind && { what: `${kind.name}, not PEM`, next: kind.convert(quoted) };
}

/** The format of a PEM block whose label is none of ours; undefined where its name says it all. */
export function otherLabel(labels: string[], file: string): OtherFormat | undefined {
  const quoted = shellQuoted(file);
  if (labels.includes("TRUSTED CERTIFICATE")) {
    return {
      what: "a certificate with OpenSSL's own trust settings",
      next: `openssl x509 -in ${quoted} -out converted.crt`,
    };
  }
  if (labels.includes("PKCS7") || labels.includes("CMS")) {
    return {
      what: "a PKCS#7 collection of certificates",
      next: `openssl pkcs7 -in ${quoted} -print_certs -out converted.crt`,
    };
  }
  if (labels.some((label) => label.endsWith("CERTIFICATE REQUEST"))) {
    return {
      what: "a certificate request, not a certificate",
      next: `Have it answered on the CA's host: agent tls mint --csr ${quoted} -o DIR`,
    };
  }
  return undefined;
}

interface Kind {
  name: string;
  convert: (file: string) => string;
}

const kinds = {
  certificate: {
    name: "a certificate in DER",
    convert: (file) => `openssl x509 -inform DER -in ${file} -out converted.crt`,
  },
  request: {
    name: "a certificate request in DER",
    convert: (file) => `openssl req -inform DER -in ${file} -out converted.csr`,
  },
  key: {
    name: "a private key in DER",
    convert: (file) => `openssl pkey -inform DER -in ${file} -out converted.key`,
  },
  pkcs7: {
    name: "a PKCS#7 collection of certificates in DER",
    convert: (file) => `openssl pkcs7 -inform DER -in ${file} -print_certs -out converted.crt`,
  },
  pkcs12: {
    name: "a PKCS#12 file with certificate and key",
    convert: (file) =>
      `openssl pkcs12 -in ${file} -nodes -out converted.pem; then give it as --cert and --key`,
  },
} satisfies Record<string, Kind>;

/** signedData, RFC 5652 section 5.1. */
const signedData = "1.2.840.113549.1.7.2";

function derKind(bytes: Bytes): Kind | undefined {
  try {
    const parts = children(readDer(bytes, tag.sequence));
    const [first, second] = parts;
    if (first === undefined) return undefined;
    if (first.tag === tag.oid) return readOid(first) === signedData ? kinds.pkcs7 : undefined;
    if (first.tag === tag.integer) {
      // PKCS#12 begins with version 3 and a ContentInfo; PKCS#8, PKCS#1 and SEC1 with 0 or 1.
      const isPkcs12 = first.value.at(-1) === 3 && second?.tag === tag.sequence;
      return isPkcs12 ? kinds.pkcs12 : kinds.key;
    }
    // A request begins with its version, a certificate with `[0]` or, in version 1, its serial number.
    const content = children(child(parts, 0, tag.sequence));
    const isRequest = content[0]?.tag === tag.integer && content[1]?.tag === tag.sequence &&
      content[2]?.tag === tag.sequence && content[3]?.tag === 0xa0;
    return isRequest ? kinds.request : kinds.certificate;
  } catch {
    // It is cut off, or something else altogether.
    return undefined;
  }
}
