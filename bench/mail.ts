/**
 * Mail beside its peers, in one run: `deno task bench:mail`. Messages per second through a real SMTP server as a ratio to
 * nodemailer: both clients take turns in one process, under Deno and under Node, with the same server (in a process of its
 * own), the same message and the same number of connections; the median of the rounds is printed. Then what each mailer adds
 * to a bundle; ours include checking of messages and errors.
 */
import { gzipSync } from "node:zlib";
import { bundle } from "../tests/support/bundle.ts";
import { createAuthority } from "../tests/support/smtp/certificates.ts";
import { startSmtpServers } from "../tests/support/smtp/smtp_servers.ts";

const ROUNDS = 5;

const OURS = `export { sendBulk } from "@holdfast/edge/mail"; export * from "@holdfast/edge/smtp";`;

interface Line {
  readonly name: string;
  readonly times: Readonly<Record<"holdfast" | "nodemailer", number[]>>;
}

const authority = await createAuthority();
const identity = await authority.issue(["localhost"]);
{
  await using servers = await startSmtpServers([
    { security: "none", quiet: true },
    { security: "starttls", quiet: true, identity },
  ]);
  const [plain, encrypted] = servers.ports;
  const cases = [
    { name: "2 KB, plain", port: plain, security: "none", messages: 300, bytes: 0 },
    { name: "2 KB, STARTTLS", port: encrypted, security: "starttls", messages: 300, bytes: 0 },
    { name: "1 MB, STARTTLS", port: encrypted, security: "starttls", messages: 20, bytes: 1024 * 1024 },
  ];
  const file = await Deno.makeTempFile({ suffix: ".mjs" });
  await Deno.writeTextFile(file, await script(OURS, false));
  const input = JSON.stringify({ bundle: `file://${file}`, ca: authority.cert, cases, rounds: ROUNDS });
  const program = new URL("./_mail_client.mjs", import.meta.url).pathname;
  // deno-lint-ignore no-console
  console.log("messages per second      holdfast  nodemailer  ratio");
  for (const command of [[Deno.execPath(), "run", "-A", program], ["node", program]]) {
    const runtime = command.length === 2 ? "node" : "deno";
    const child = new Deno.Command(command[0]!, { args: [...command.slice(1), input], stderr: "inherit" });
    const { stdout } = await child.output();
    for (const text of new TextDecoder().decode(stdout).trim().split("\n")) {
      const { name, times } = JSON.parse(text) as Line;
      const ours = 1000 / median(times.holdfast);
      const theirs = 1000 / median(times.nodemailer);
      const figures = [
        ours.toFixed(0).padStart(8),
        theirs.toFixed(0).padStart(10),
        (ours / theirs).toFixed(2),
      ];
      // deno-lint-ignore no-console
      console.log(`${runtime}, ${name}`.padEnd(24), figures.join("  "));
    }
  }
  await Deno.remove(file);
}

// deno-lint-ignore no-console
console.log("\nbytes                        minified     gzip");
for (
  const [name, source, peer] of [
    ["holdfast, resend", `export * from "@holdfast/edge/resend";`, false],
    ["resend", `export { Resend } from "resend";`, true],
    ["holdfast, sendgrid", `export * from "@holdfast/edge/sendgrid";`, false],
    ["holdfast, mailgun", `export * from "@holdfast/edge/mailgun";`, false],
    ["holdfast, ses", `export * from "@holdfast/edge/ses";`, false],
    [
      "holdfast, ses + aws4fetch",
      `export * from "@holdfast/edge/ses"; export { AwsClient } from "aws4fetch";`,
      false,
    ],
    ["holdfast, SMTP on Node", `export { nodeConnector, smtpMailer } from "@holdfast/edge/smtp";`, false],
    [
      "holdfast, SMTP on Workers",
      `export { cloudflareConnector, smtpMailer } from "@holdfast/edge/smtp";`,
      false,
    ],
    ["@upyo/smtp", `export * from "@upyo/smtp"; export { createMessage } from "@upyo/core";`, true],
    ["nodemailer", `export * from "nodemailer";`, true],
  ] as const
) {
  const code = await script(source, true, peer);
  const size = gzipSync(code, { level: 9 }).length;
  // deno-lint-ignore no-console
  console.log(name.padEnd(28), String(code.length).padStart(8), String(size).padStart(8));
}

/** The size of the bundle; peers may leave Node's own modules outside, ours has none. */
async function script(source: string, minify: boolean, node = false): Promise<string> {
  if (!node) return (await bundle({ script: source, minify })).code;
  const esbuild = await import("esbuild");
  const { outputFiles } = await esbuild.build({
    stdin: { contents: source, resolveDir: new URL("..", import.meta.url).pathname },
    bundle: true,
    write: false,
    minify,
    format: "esm",
    platform: "node",
    logLevel: "silent",
  });
  await esbuild.stop();
  return outputFiles[0]!.text;
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1]!;
}
