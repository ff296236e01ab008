import { shellQuoted } from "../../base/shell_quoted.ts";
import type { TrustStore } from "./store.ts";

export const arch: TrustStore = {
  id: "arch",
  title: "Arch Linux, openSUSE",
  used: "curl, wget, Python, Go and most programs",
  add: (file) => [`sudo trust anchor --store ${shellQuoted(file)}`],
  remove: (file) => [`sudo trust anchor --remove ${shellQuoted(file)}`],
};
