/**
 * A certificate authority of the test's own, and what it signs: X.509 by hand, as no runtime makes
 * certificates.
 */

/** A key and its certificate, both PEM. */
export interface Identity {
  readonly key: string;
  readonly cert: string;
}

/** A certificate authority that no runtime trusts by default. */
export interface Authority {
  /** Its certificate, PEM. */
  readonly cert: string;
  /** A server's certificate for these names; those that look like an IPv4 address are addresses. */
  issue(names: readonly string[]): Promise<Identity>;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };

/** Makes an authority, valid from yesterday on for a month. */
export async function createAuthority(name = "Holdfast test authority"): Promise<Authority> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const isAuthority = der(0x30, der(0x01, [0xff]));
  const cert = await certificate(name, name, keys.publicKey, keys.privateKey, [
    extension([0x55, 0x1d, 0x13], isAuthority, true),
    extension([0x55, 0x1d, 0x0f], der(0x03, [2, 0x04]), true), // keyCertSign
  ]);
  return {
    cert,
    async issue(names) {
      const own = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
      const alternatives = names.map((name) =>
        /^[\d.]+$/.test(name) ? der(0x87, name.split(".").map(Number)) : der(0x82, ascii(name))
      );
      return {
        cert: await certificate(names[0]!, name, own.publicKey, keys.privateKey, [
          extension([0x55, 0x1d, 0x0f], der(0x03, [7, 0x80]), true), // digitalSignature
          extension([0x55, 0x1d, 0x25], der(0x30, der(0x06, [0x2b, 6, 1, 5, 5, 7, 3, 1]))), // serverAuth
          extension([0x55, 0x1d, 0x11], der(0x30, ...alternatives)),
        ]),
        key: pem("PRIVATE KEY", new Uint8Array(await crypto.subtle.exportKey("pkcs8", own.privateKey))),
      };
    },
  };
}

async function certificate(
  subject: string,
  issuer: string,
  publicKey: CryptoKey,
  signer: CryptoKey,
  extensions: readonly Uint8Array[],
): Promise<string> {
  const ecdsaWithSha256 = der(0x30, der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
  const content = der(
    0x30,
    der(0xa0, der(0x02, [2])),
    der(0x02, [0x40, ...crypto.getRandomValues(new Uint8Array(8))]),
    ecdsaWithSha256,
    commonName(issuer),
    der(0x30, time(-1), time(30)),
    commonName(subject),
    new Uint8Array(await crypto.subtle.exportKey("spki", publicKey)),
    der(0xa3, der(0x30, ...extensions)),
  );
  const raw = new Uint8Array(
    await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, signer, content as Uint8Array<ArrayBuffer>),
  );
  const signature = der(0x30, integer(raw.subarray(0, 32)), integer(raw.subarray(32)));
  return pem("CERTIFICATE", der(0x30, content, ecdsaWithSha256, der(0x03, [0], signature)));
}

/** One value in DER. */
function der(tag: number, ...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const content = parts.flatMap((part) => [...part]);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return new Uint8Array([tag, ...size, ...content]);
}

function integer(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = bytes.subarray(first);
  return der(0x02, digits[0]! > 127 ? [0, ...digits] : digits);
}

function extension(id: number[], value: Uint8Array, critical = false): Uint8Array {
  return der(0x30, der(0x06, id), ...(critical ? [der(0x01, [0xff])] : []), der(0x04, value));
}

function commonName(name: string): Uint8Array {
  return der(0x30, der(0x31, der(0x30, der(0x06, [0x55, 4, 3]), der(0x0c, ascii(name)))));
}

function time(days: number): Uint8Array {
  const iso = new Date(Date.now() + days * 86_400_000).toISOString();
  return der(0x17, ascii(iso.replace(/\..*|[-:T]/g, "").slice(2) + "Z"));
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = btoa(String.fromCharCode(...bytes)).replace(/.{64}(?!$)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
