import type { KeyObject } from "node:crypto";
import type { Certificate } from "./certificate.ts";

/** A CA that can sign. */
export interface Issuer {
  certificate: Certificate;
  /** What else its file holds: the way up to a root where it is none itself. */
  others: Certificate[];
  key: KeyObject;
}
