/** A place where a system or browser keeps the CAs that it trusts. */
export interface TrustStore {
  /** The value of `--os`. */
  id: string;
  title: string;
  /** The programs that use it. */
  used: string;
  /** Steps that add the CA; lines that are not commands begin with "#". */
  add: (file: string, name: string) => string[];
  /** Steps that remove it. */
  remove: (file: string, name: string) => string[];
}
