/**
 * Exim from Debian's packages, as a mail server that shares no code with us: AUTH, STARTTLS, DSN, greylisting,
 * and delivery into maildirs. For the long form of the tests: it is installed by root.
 */
import { createAuthority } from "./certificates.ts";

const EXIM = "/usr/sbin/exim4";

/** A running server. */
export interface Exim extends AsyncDisposable {
  readonly port: number;
  /** The authority that signed its certificate, PEM. */
  readonly authority: string;
  /** The messages that an address got, in the order they were delivered. */
  delivered(address: string, count: number): Promise<Uint8Array[]>;
  /** Takes mail for `grey@`, which it refused for now before. */
  endGreylisting(): Promise<void>;
  /** The log, for a test that fails. */
  log(): Promise<string>;
}

/** Installs it where it is not, and starts it. */
export async function startExim(): Promise<Exim> {
  if (!await exists(EXIM)) {
    await run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "exim4-daemon-light");
  }
  const folder = await Deno.makeTempDir({ prefix: "exim-" });
  for (const name of ["spool", "log", "mail"]) await Deno.mkdir(`${folder}/${name}`);
  const authority = await createAuthority();
  const { cert, key } = await authority.issue(["localhost", "127.0.0.1"]);
  await Deno.writeTextFile(`${folder}/cert.pem`, cert);
  await Deno.writeTextFile(`${folder}/key.pem`, key);
  const port = freePort();
  await Deno.writeTextFile(`${folder}/exim.conf`, configuration(folder, port));
  await run("chown", "-R", "Debian-exim", folder);
  await run("chown", "root", `${folder}/exim.conf`);
  await Deno.chmod(folder, 0o755);
  const command = new Deno.Command(EXIM, {
    args: ["-C", `${folder}/exim.conf`, "-bdf"],
    stdout: "null",
    stderr: "null",
  });
  const process = command.spawn();
  await answering(port);
  return {
    port,
    authority: authority.cert,
    async delivered(address, count) {
      // All addresses share a maildir: Exim makes no file name of what a stranger sent.
      const box = `${folder}/mail/new`;
      for (let tries = 0;; tries++) {
        const all = await Promise.all((await namesIn(box)).map((name) => Deno.readFile(`${box}/${name}`)));
        const own = all.filter((bytes) => envelopeOf(bytes) === address);
        if (own.length >= count || tries === 600) return own;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    endGreylisting: () => Deno.writeTextFile(`${folder}/known`, ""),
    log: () => Deno.readTextFile(`${folder}/log/main`).catch(() => ""),
    async [Symbol.asyncDispose]() {
      process.kill("SIGTERM");
      await process.status;
      await Deno.remove(folder, { recursive: true });
    },
  };
}

function configuration(folder: string, port: number): string {
  return `
primary_hostname = mail.example.net
exim_path = ${EXIM}
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%s
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${port}
tls_on_connect_ports =
tls_advertise_hosts = *
tls_certificate = ${folder}/cert.pem
tls_privatekey = ${folder}/key.pem
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
pipelining_advertise_hosts = *
accept_8bitmime = true
host_lookup =
smtp_accept_queue_per_connection = 0
rfc1413_query_timeout = 0s
smtp_enforce_sync = true
acl_smtp_rcpt = rcpt
acl_smtp_data = accepted
keep_environment =
begin acl
rcpt:
  defer local_parts = grey
        condition = \${if exists{${folder}/known}{no}{yes}}
        message = 4.7.1 greylisted
  deny  local_parts = unknown
        message = 5.1.1 no such user
  deny  condition = \${if eq{$sender_address_domain}{auth.example.com}{yes}{no}}
       !authenticated = *
        message = 5.7.0 authenticate first
  accept
accepted:
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = ${folder}/mail
  maildir_format
  create_directory
  user = Debian-exim
  envelope_to_add
  return_path_add
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{$auth2}{account}}{eq{$auth3}{secret}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = \${if and{{eq{$auth1}{account}}{eq{$auth2}{secret}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = \${if eq{$auth1}{account}{secret}fail}
  server_set_id = $auth1
`;
}

/** The recipient that Exim notes above a message. */
function envelopeOf(bytes: Uint8Array): string | undefined {
  return /^Envelope-to: (.*?)\r?$/m.exec(new TextDecoder().decode(bytes.subarray(0, 2000)))?.[1];
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function run(command: string, ...args: string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const { success, stderr } = await new Deno.Command(command, { args, env, stdout: "null", stderr: "piped" })
    .output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return listener.addr.port;
}

async function answering(port: number): Promise<void> {
  for (let tries = 0;; tries++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (tries === 600) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
