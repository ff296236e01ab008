import type { TrustStore } from "./store.ts";

/** The same on every system: Firefox keeps a store of its own. */
export const firefox: TrustStore = {
  id: "firefox",
  title: "Firefox, on every system",
  used: "Firefox only, which does not look at the system's store",
  add: (file) => [
    "# Open about:preferences#privacy and scroll to Certificates",
    "# View Certificates… > Authorities > Import…",
    `# Choose ${file}, tick "Trust this CA to identify websites", OK`,
  ],
  remove: (_file, name) => [
    "# Open about:preferences#privacy and scroll to Certificates",
    `# View Certificates… > Authorities > "${name}" > Delete or Distrust…`,
  ],
};
