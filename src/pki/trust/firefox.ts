import type { TrustStore } from "./store.ts";

/** A store of its own; since version 120 Windows' and macOS's are taken as well. */
export const firefox: TrustStore = {
  id: "firefox",
  title: "Firefox, on every system",
  used: "Firefox only; on Windows and macOS it takes the system's store too, unless told not to",
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
