/** Peers of every kind, over real sshd. All hosts are set up once, and most are deployed at once. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { component, programs } from "../support/component.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";
import { step } from "../support/step.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);
const sudo = await component("sudo and doas", programs("sudo", "doas", "useradd"));
const expect = await component("expect", programs("expect"));

const password = "correct horse";

/** A program of the peer that says something else: in a folder that comes first on the PATH. */
const shim = (name: string, body: string) =>
  `printf '#!/bin/sh\\n%s\\n' '${body}' >/usr/local/bin/${name} && chmod +x /usr/local/bin/${name}`;
const fullFolder = (size: string, path: string) => `mount -t tmpfs -o size=${size} tmpfs ${path}`;

interface Case {
  /** Makes the host what it is. */
  prepare: string;
  /** Makes the CA holder what it is. */
  here?: string;
  line: RegExp;
  next?: RegExp;
}

/** Deployed together, by root, with --batch and --push-binary. */
const cases: Record<string, Case> = {
  good: { prepare: "", line: /changed +executable .*, certificate/ },
  jump: {
    prepare: "",
    here: "ip route add unreachable $ip && printf 'Host jump.lan\\n  ProxyJump good.lan\\n'",
    line: /changed +executable .*, certificate/,
  },
  pass: {
    prepare: "rm .ssh/authorized_keys",
    line: /unreachable +ssh refuses this user/,
    next: /ssh-copy-id pass\.lan/,
  },
  rekey: {
    prepare: "",
    here:
      "sed -i '/^rekey,/s| AAAA[^ ]*| '$(cut -d' ' -f2 .ssh/id_ed25519.pub)'|' .ssh/known_hosts",
    line: /unreachable +its host key has changed/,
    next: /ssh-keygen -R rekey\.lan/,
  },
  unseen: {
    prepare: "",
    here: "sed -i '/^unseen,/d' .ssh/known_hosts",
    line: /unreachable +its host key is not known here/,
    next: /--accept-new-hosts/,
  },
  readonly: {
    prepare: "mount -o remount,ro /etc/agent",
    line: /failed +\/etc\/agent is on a file system that is mounted read-only/,
    next: /remount,rw/,
  },
  noexec: {
    prepare: "mount -t tmpfs -o noexec tmpfs /usr/local/bin",
    line: /failed +\/usr\/local\/bin is on a file system that is mounted noexec/,
    next: /Remount it with exec/,
  },
  full: {
    prepare: fullFolder("64k", "/etc/agent"),
    line: /failed +only \d+ KiB are free for \/etc\/agent\/tls/,
    next: /Free some space/,
  },
  bin: {
    prepare: fullFolder("50m", "/usr/local/bin"),
    line: /failed +only \d+ KiB are free for \/usr\/local\/bin, and \d+ are needed/,
    next: /Free some space/,
  },
  clock: {
    prepare: shim("date", 'exec /bin/date -d "+2 hours" "$@"'),
    line: /failed +its clock is 1[12]\d minutes ahead of this host/,
    next: /timedatectl set-ntp true/,
  },
  arm: {
    prepare: shim("uname", 'case $1 in -m) echo armv7l ;; *) exec /bin/uname "$@" ;; esac'),
    line: /failed +it is Linux on armv7l, and the executable is for Linux on x86_64/,
    next: /--binary FILE/,
  },
  musl: {
    prepare: `${shim("getconf", "exit 1")} && touch /lib/ld-musl-x86_64.so.1`,
    line: /failed +its C library is musl/,
    next: /leave out --push-binary/,
  },
};

/** Deployed together, by the user ada. */
const users: Record<string, Case> = {
  nopass: {
    prepare: "echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada",
    line: /changed +certificate/,
  },
  askpass: {
    prepare: "echo 'ada ALL=(ALL) ALL' >/etc/sudoers.d/ada",
    line: /failed +sudo asks for a password of "ada" there/,
    next: /--ask-sudo/,
  },
  doas: {
    prepare:
      "rm /usr/bin/sudo && echo 'permit nopass ada' >/etc/doas.conf && chmod 600 /etc/doas.conf",
    line: /changed +certificate/,
  },
  neither: {
    prepare: "rm /usr/bin/sudo /usr/bin/doas",
    line: /failed +"ada" has neither sudo nor doas there/,
    next: /Log in as root/,
  },
};

const ada = `useradd -m -s /bin/sh ada && usermod -p "$(openssl passwd -6 '${password}')" ada &&
  cp -r .ssh /home/ada/ && chown -R ada: /home/ada/.ssh`;

const names = (of: Record<string, Case>) => Object.keys(of).map((name) => `${name}.lan`);

function check(of: Record<string, Case>, stdout: string, stderr: string): void {
  for (const [name, { line, next }] of Object.entries(of)) {
    const found = stdout.split("\n").find((each) => each.startsWith(`${name}.lan `));
    assert.match(found ?? "", line, stdout + stderr);
    if (next === undefined) continue;
    const remedy = stderr.split("\n")
      .find((each) => each.startsWith("next for ") && each.split(": ")[0]!.includes(`${name}.lan`));
    assert.match(remedy ?? "", next, stderr);
  }
}

Deno.test({
  name: "peers of every kind: each line says what was done, or what is wrong and what helps",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn(t) {
    const withUsers = sudo.ignore ? {} : users;
    const all = [...Object.keys(cases), ...Object.keys(withUsers)];
    await using hosts = await startHosts(["a", ...all]);
    const host = (name: string) => hosts[name]!;
    const a = host("a");
    const own = agent.command().command;
    await Promise.all([
      ...Object.entries(cases).map(([name, { prepare }]) => host(name).ok(prepare)),
      ...Object.entries(withUsers).map(([name, { prepare }]) =>
        host(name).ok(`${ada} && ${prepare}`)
      ),
    ]);
    await a.ok("agent tls init && ssh-keygen -y -f .ssh/id_ed25519 >.ssh/id_ed25519.pub");
    for (const [name, { here }] of Object.entries(cases)) {
      if (here !== undefined) await a.ok(`ip=${host(name).address}; { ${here}; } >>.ssh/config`);
    }

    await step(t, "twelve at once", async () => {
      const deploy = `${own} tls deploy --push-binary --batch --parallel 12`;
      const ran = await a.run(`${deploy} ${names(cases).join(" ")}`);
      assert.equal(ran.code, 1);
      check(cases, ran.stdout, ran.stderr);
      await host("jump").ok("agent tls status --check");
      for (const name of Object.keys(cases)) {
        if (cases[name]!.line.source.startsWith("changed")) continue;
        assert.equal(await host(name).ok("ls -A /etc/agent"), "", name);
      }
    });
    await step(t, "an unseen host key is accepted on request, a changed one never", async () => {
      const ran = await a.run("agent tls deploy --batch --accept-new-hosts unseen.lan rekey.lan");
      assert.match(ran.stdout, /^unseen\.lan +changed/m);
      assert.match(ran.stdout, /^rekey\.lan +unreachable +its host key has changed/m);
    });
    await t.step({
      name: "users that may become root, with and without a password",
      ...sudo,
      async fn() {
        const ran = await a.run(
          `agent tls deploy --batch --ssh-user ada --sudo ${names(users).join(" ")}`,
        );
        check(users, ran.stdout, ran.stderr);
        for (const name of ["nopass", "doas"]) {
          assert.equal(
            await host(name).ok("stat -c '%U %a' /etc/agent/tls/server.key"),
            "root 600\n",
          );
        }
        await host("neither").ok(
          "mkdir /home/ada/.config && mount -t tmpfs -o ro x /home/ada/.config",
        );
        const plain = await a.run("agent tls deploy --batch --ssh-user ada neither.lan nopass.lan");
        assert.match(
          plain.stdout,
          /^neither\.lan +failed +\/home\/ada\/\.config is on a file .* read-/m,
        );
        assert.match(plain.stdout, /^nopass\.lan +changed +certificate/m);
        assert.equal(
          await host("nopass").ok("stat -c '%U %a' /home/ada/.config/agent/tls/server.key"),
          "ada 600\n",
        );
      },
    });
    await t.step({
      name: "what a person sees on a terminal",
      ignore: expect.ignore || sudo.ignore,
      fn: () => onTerminal(a, host("pass"), host("rekey")),
    });
  },
});

/** A password, an unseen host key, and a password for sudo, asked one after the other. */
async function onTerminal(a: Host, pass: Host, unseen: Host): Promise<void> {
  await pass.ok(
    `usermod -p "$(openssl passwd -6 '${password}')" root && mkdir -p /run/sshd &&
     sed 's/^Password.*/PasswordAuthentication yes/; s/^PermitRoot.*/PermitRootLogin yes/' \\
       /run/host/sshd_config >/run/host/sshd_password && /usr/sbin/sshd -p 2222 -f /run/host/sshd_password`,
  );
  await a.ok(
    `printf 'Host pass.lan\\n  Port 2222\\n  HostKeyAlias pass.lan\\n' >>.ssh/config &&
     sed -i '/^${unseen.name},/d' .ssh/known_hosts && cat >/root/terminal.exp`,
    await Deno.readTextFile(join(import.meta.dirname!, "tls_deploy.exp")),
  );
  const said = await a.ok(
    `expect -f /root/terminal.exp '${password}' pass.lan ${unseen.name}.lan nobody.lan askpass.lan`,
  );
  assert.doesNotMatch(said, new RegExp(password), "no password is shown");
}
