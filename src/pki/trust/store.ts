/** A place where a system or browser keeps the CAs that it trusts. */
export interface TrustStore {
  /** As `--os` takes it. */
  id: string;
  title: string;
  /** Who looks there. */
  used: string;
  /** Steps that add the CA; lines that are no commands begin with "#". */
  add: (file: string, name: string) => string[];
  /** Steps that take it away again. */
  remove: (file: string, name: string) => string[];
}
