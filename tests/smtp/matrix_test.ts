/** Encryption × authentication × runtime, on real sockets and a real server. */
import PostalMime from "postal-mime";
import { assert, assertEquals } from "../support/assert.ts";
import { runIn, RUNTIMES } from "../support/runtimes.ts";
import { createAuthority } from "../support/smtp/certificates.ts";
import { startSmtpServers } from "../support/smtp/smtp_servers.ts";
import { workerdTest } from "../support/workerd.ts";
import type { Answer, MatrixCase } from "./_matrix_scenario.ts";

const SECURITY = ["none", "starttls", "tls"] as const;
const METHODS = [undefined, "PLAIN", "LOGIN", "XOAUTH2"] as const;

workerdTest("encryption × authentication, and certificates that are refused, in every runtime", async (t) => {
  const authority = await createAuthority();
  const identity = await authority.issue(["localhost", "127.0.0.1"]);
  const otherName = await authority.issue(["other.example"]);
  const untrusted = await (await createAuthority("Somebody else")).issue(["localhost"]);
  // miniflare hands these to workerd, which has no other way to trust them
  const file = await Deno.makeTempFile({ suffix: ".pem" });
  await Deno.writeTextFile(file, authority.cert);
  using _environment = environment({
    NODE_EXTRA_CA_CERTS: file,
    NODE_TLS_REJECT_UNAUTHORIZED: "0", // Node and Bun must check certificates all the same
  });

  const combinations = SECURITY.flatMap((security) => METHODS.map((method) => ({ security, method })));
  await using servers = await startSmtpServers([
    ...combinations.map(({ security, method }) => ({
      security,
      identity,
      ...(method && { methods: [method] }),
    })),
    { security: "tls", identity: otherName },
    { security: "starttls", identity: otherName },
    { security: "tls", identity: untrusted },
    { security: "starttls", identity: untrusted },
    { security: "none" },
    { security: "none", methods: ["PLAIN"] },
    { security: "none", methods: ["PLAIN", "LOGIN"] },
  ]);
  const username = "jäne";
  const works: MatrixCase[] = combinations.map(({ security, method }, i) => ({
    name: `${security}, ${method ?? "nobody"}`,
    host: "localhost",
    port: servers.ports[i]!,
    security,
    auth: method &&
      (method === "XOAUTH2" ? { username, accessToken: "token" } : { username, password: "pässword" }),
  }));
  const [wrongTls, wrongStartTls, strangeTls, strangeStartTls, plain, plainAuth, wrongAuth] = servers.ports
    .slice(works.length);
  const fails: MatrixCase[] = [
    { name: "another's certificate, tls", host: "localhost", port: wrongTls!, security: "tls" },
    {
      name: "a certificate of another host, starttls",
      host: "localhost",
      port: wrongStartTls!,
      security: "starttls",
    },
    { name: "an unknown authority, tls", host: "localhost", port: strangeTls!, security: "tls" },
    {
      name: "an unknown authority, starttls",
      host: "localhost",
      port: strangeStartTls!,
      security: "starttls",
    },
    { name: "starttls is not offered", host: "localhost", port: plain!, security: "starttls" },
    { name: "tls with a plain server", host: "localhost", port: plain!, security: "tls" },
    { name: "credentials needed", host: "localhost", port: plainAuth!, security: "none" },
    {
      name: "wrong password",
      host: "localhost",
      port: wrongAuth!,
      security: "none",
      auth: { username, password: "wrong" },
    },
    {
      name: "no token taken",
      host: "localhost",
      port: plainAuth!,
      security: "none",
      auth: { username, accessToken: "token" },
    },
  ];
  // Workers do not tell why they could not encrypt.
  const expected = (runtime: string): Record<string, unknown>[] => {
    const refused = runtime === "workerd" ? "backend-unavailable" : "unauthorized";
    return [
      { code: refused, phase: "tls", status: undefined },
      { code: refused, phase: "tls", status: undefined },
      { code: refused, phase: "tls", status: undefined },
      { code: refused, phase: "tls", status: undefined },
      { code: "unsupported", phase: "prepare", status: undefined },
      { code: "backend-unavailable", phase: "tls", status: undefined },
      { code: "unauthorized", phase: "mail", status: 530 },
      { code: "unauthorized", phase: "auth", status: 535 },
      { code: "unsupported", phase: "prepare", status: undefined },
    ];
  };

  let sent = 0;
  for (const runtime of RUNTIMES) {
    await t.step(runtime, async () => {
      const input = { cases: [...works, ...fails], ca: authority.cert };
      const answers = await runIn<Answer[]>(runtime, "tests/smtp/_matrix_scenario.ts", input);
      for (const [i, { name, id, error }] of answers.entries()) {
        const where = `${runtime}: ${name}: ${JSON.stringify(error)}`;
        if (error === undefined || i < works.length) {
          assertEquals({ id, error }, { id: "TEST123", error: undefined }, where);
          assert(i < works.length, where);
          continue;
        }
        const { code, phase, status, delivery, told } = error;
        assertEquals({ code, phase, status }, expected(runtime)[i - works.length], where);
        assertEquals(delivery, "not-sent", where);
        assert(!/@|jäne|pässword/.test(String(told)), where);
      }
      const taken = (await servers.taken(sent + works.length)).slice(sent);
      sent += works.length;
      assertEquals(taken.length, works.length);
      for (const [i, { security, method }] of combinations.entries()) {
        const one = taken[i]!;
        assertEquals(one.index, i);
        assertEquals(one.secure, security !== "none");
        assertEquals(one.user || undefined, method && `${username} by ${method}`);
        const { subject, text } = await PostalMime.parse(atob(one.raw));
        assertEquals(subject, works[i]!.name);
        assertEquals(text?.replaceAll("\r\n", "\n").trimEnd(), "Grüße\n.\n..\n.end\n" + "x".repeat(2000));
      }
    });
  }
});

/** Sets variables that child processes inherit, and puts back what was there. */
function environment(variables: Readonly<Record<string, string>>): Disposable {
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const [name, value] of before) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
    },
  };
}
