import { base64ToBytes, bytesToBase64 } from "../../src/codec.ts";
import { randomToken } from "../../src/secret.ts";
import { runSasl, type SaslExchange, type SmtpMechanism } from "./sasl.ts";

/** Rounds of hashing that a server may ask for: fewer are weak (RFC 7677, 4), more block the client. */
const MIN_ROUNDS = 4096;
const MAX_ROUNDS = 1_000_000;

const HMAC = { name: "HMAC", hash: "SHA-256" } as const;

/**
 * SCRAM-SHA-256: the server never sees the password, and proves that it knows it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7677
 * @category Mailers
 * @example
 * ```ts
 * import { denoConnector, scramSha256, smtpMailer } from "@holdfast/edge/smtp";
 * const auth = { username: "shop", password: "secret", mechanism: scramSha256 };
 * const mailer = smtpMailer({ connector: denoConnector(), host: "smtp.example.com", auth });
 * if (mailer.name !== "smtp") throw new Error("unexpected");
 * ```
 */
export const scramSha256: SmtpMechanism = {
  name: "SCRAM-SHA-256",
  authenticate: ({ username, secret }, send) =>
    runSasl("SCRAM-SHA-256", scramExchange(username, secret, randomToken(18)), send),
};

/** The client's side of SCRAM (RFC 5802, 5) with this nonce. */
export function scramExchange(username: string, password: string, nonce: string): SaslExchange {
  const name = username.normalize("NFKC").replace(/[=,]/g, (sign) => sign === "=" ? "=3D" : "=2C");
  const bare = `n=${name},r=${nonce}`;
  let expected: string | undefined;
  let proven = false;
  return {
    begin: `n,,${bare}`,
    async respond(challenge) {
      if (expected === undefined) {
        const { proof, final, signature } = await clientFinal(bare, challenge, nonce, password);
        expected = signature;
        return `${final},p=${proof}`;
      }
      if (proven) return undefined;
      if (challenge !== `v=${expected}`) throw new Error("the server does not know the password");
      proven = true;
      return "";
    },
    complete() {
      if (!proven) throw new Error("the server accepted without a proof");
    },
  };
}

/** The client's proof, and the signature that the server must show in turn. */
async function clientFinal(bare: string, first: string, nonce: string, password: string) {
  const [, both, salt, rounds] = /^r=([!-+\--~]+),s=([A-Za-z\d+/=]+),i=(\d{1,7})(?:,|$)/.exec(first) ?? [];
  if (!both?.startsWith(nonce) || both.length <= nonce.length) throw new Error("the nonce is not ours");
  if (Number(rounds) < MIN_ROUNDS || Number(rounds) > MAX_ROUNDS) {
    throw new Error("the rounds are out of bounds");
  }
  const salted = await saltedPassword(password, base64ToBytes(salt!), Number(rounds));
  const clientKey = await hmac(salted, "Client Key");
  const storedKey = new Uint8Array(await crypto.subtle.digest("SHA-256", clientKey));
  const final = `c=biws,r=${both}`; // "n,," in base64: no channel binding
  const message = `${bare},${first},${final}`;
  const clientSignature = await hmac(storedKey, message);
  const proof = bytesToBase64(clientKey.map((byte, i) => byte ^ clientSignature[i]!));
  const signature = bytesToBase64(await hmac(await hmac(salted, "Server Key"), message));
  return { proof, final, signature };
}

async function saltedPassword(
  password: string,
  salt: Uint8Array<ArrayBuffer>,
  iterations: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder().encode(password.normalize("NFKC"));
  const key = await crypto.subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveBits"]);
  return new Uint8Array(
    await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, key, 256),
  );
}

async function hmac(secret: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey("raw", secret, HMAC, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text)));
}
