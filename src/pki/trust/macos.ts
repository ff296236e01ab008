import { shellQuoted } from "../../base/shell_quoted.ts";
import type { TrustStore } from "./store.ts";

const keychain = "/Library/Keychains/System.keychain";

export const macos: TrustStore = {
  id: "macos",
  title: "macOS",
  used: "Safari, Chrome, Edge, curl and most programs",
  add: (
    file,
  ) => [`sudo security add-trusted-cert -d -r trustRoot -k ${keychain} ${shellQuoted(file)}`],
  remove: (_file, name) => [`sudo security delete-certificate -c ${shellQuoted(name)} ${keychain}`],
};
