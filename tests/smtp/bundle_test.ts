/** The size in a user's bundle, which has no runtime's modules inside. */
import { gzipSync } from "node:zlib";
import { assert, assertEquals } from "../support/assert.ts";
import { bundle } from "../support/bundle.ts";
import { report } from "../support/report.ts";

/**
 * Bytes: with a result per recipient, a pool that knows the server's limits, RFC 4954 to the letter, and the
 * places where envelopes, mechanisms and signatures are handed in.
 */
const LIMIT = 15_225;

for (const connector of ["denoConnector", "nodeConnector", "cloudflareConnector"]) {
  Deno.test({
    name: `smtpMailer with MIME and ${connector} has at most ${LIMIT} bytes gzipped, and imports nothing`,
    sanitizeOps: false, // esbuild's process
    sanitizeResources: false,
    async fn() {
      const script = `export { ${connector}, smtpMailer } from "@holdfast/edge/smtp";`;
      const { code, metafile } = await bundle({ script, minify: true });
      const size = gzipSync(code, { level: 9 }).length;
      report(`${connector}: ${code.length} bytes minified, ${size} gzipped`);
      assert(size <= LIMIT, `${size} bytes`);
      const imports = Object.values(metafile.outputs).flatMap(({ imports }) =>
        imports.map(({ path }) => path)
      );
      assertEquals(imports, []);
    },
  });
}
