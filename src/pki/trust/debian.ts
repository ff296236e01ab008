import { shellQuoted } from "../../base/shell_quoted.ts";
import type { TrustStore } from "./store.ts";

/** Only files named *.crt in this folder are taken up by update-ca-certificates. */
const place = "/usr/local/share/ca-certificates/agent-ca.crt";

export const debian: TrustStore = {
  id: "debian",
  title: "Debian, Ubuntu",
  used: "curl, wget, Python, Go and most programs",
  add: (
    file,
  ) => [`sudo install -m 644 ${shellQuoted(file)} ${place}`, "sudo update-ca-certificates"],
  remove: () => [`sudo rm ${place}`, "sudo update-ca-certificates --fresh"],
};
