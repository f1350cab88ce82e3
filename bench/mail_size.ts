/**
 * What each mailer adds to a Worker, beside its peers, in one run: `deno run -A bench/mail_size.ts`. Minified and gzipped; the
 * ratio is to the official `resend` SDK. Ours include validation, `sendBulk` and errors; SES includes aws4fetch.
 */
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { bundle } from "../tests/support/bundle.ts";

const ours = ["sendgrid", "mailgun", "resend", "ses"];

const sizes: [name: string, bytes: number][] = [];
for (const name of ours) {
  const { code } = await bundle({ script: `export * from "@holdfast/edge/${name}";`, minify: true });
  sizes.push([`@holdfast/edge/${name}`, gzipSync(code).length]);
}
const mime = await bundle({ script: `export { buildMime } from "@holdfast/edge";`, minify: true });
sizes.push(["buildMime alone", gzipSync(mime.code).length]);
const sdk = await bundle({ script: `export { Resend } from "resend";`, minify: true });
sizes.push(["resend", gzipSync(sdk.code).length]);
const { outputFiles } = await esbuild.build({
  stdin: {
    contents: `export { default } from "nodemailer";`,
    resolveDir: new URL(".", import.meta.url).pathname,
  },
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  platform: "node",
});
sizes.push(["nodemailer", gzipSync(outputFiles[0]!.contents).length]);
await esbuild.stop();

const base = sizes.find(([name]) => name === "resend")![1];
for (const [name, bytes] of sizes) {
  // deno-lint-ignore no-console
  console.log(
    `${name.padEnd(24)} ${String(bytes).padStart(7)} bytes   ${(bytes / base).toFixed(2)} × resend`,
  );
}
