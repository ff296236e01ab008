import { shellQuoted } from "../../base/shell_quoted.ts";
import type { TrustStore } from "./store.ts";

const database = "-d sql:$HOME/.pki/nssdb";

/** On Linux these browsers read a database of the user's, not the system's store. */
export const chromium: TrustStore = {
  id: "chromium",
  title: "Chromium, Chrome and Edge on Linux",
  used: "those browsers, for one user",
  add: (file, name) => [
    "# certutil is in the package libnss3-tools (Debian), nss-tools (Fedora) or nss (Arch)",
    "mkdir -p $HOME/.pki/nssdb",
    `certutil ${database} -L >/dev/null 2>&1 || certutil ${database} -N --empty-password`,
    `certutil ${database} -A -t C,, -n ${shellQuoted(name)} -i ${shellQuoted(file)}`,
  ],
  remove: (_file, name) => [`certutil ${database} -D -n ${shellQuoted(name)}`],
};
