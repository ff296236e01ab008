import { powershellQuoted } from "../../base/shell_quoted.ts";
import type { TrustStore } from "./store.ts";

const store = "Cert:\\LocalMachine\\Root";

export const windows: TrustStore = {
  id: "windows",
  title: "Windows",
  used: "Edge, Chrome and most programs",
  add: (file) => [
    "# In PowerShell, as administrator:",
    `Import-Certificate -FilePath ${powershellQuoted(file)} -CertStoreLocation ${store}`,
  ],
  remove: (_file, name) => [
    "# In PowerShell, as administrator:",
    `Get-ChildItem ${store} | Where-Object Subject -eq ${
      powershellQuoted(`CN=${name}`)
    } | Remove-Item`,
  ],
};
