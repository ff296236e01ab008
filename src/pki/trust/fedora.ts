import { shellQuoted } from "../../base/shell_quoted.ts";
import type { TrustStore } from "./store.ts";

const place = "/etc/pki/ca-trust/source/anchors/agent-ca.crt";

export const fedora: TrustStore = {
  id: "fedora",
  title: "Fedora, RHEL, Rocky, Alma",
  used: "curl, wget, Python, Go and most programs",
  add: (
    file,
  ) => [`sudo install -m 644 ${shellQuoted(file)} ${place}`, "sudo update-ca-trust extract"],
  remove: () => [`sudo rm ${place}`, "sudo update-ca-trust extract"],
};
