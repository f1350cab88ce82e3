/**
 * DKIM signatures, made here: for a mail server that does not sign, or for a domain that its service does not
 * hold the key of.
 *
 * ```ts
 * import { dkimSigned } from "@holdfast/edge/dkim";
 * import { buildMime } from "@holdfast/edge/mail";
 *
 * const { privateKey } = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair;
 * const mime = dkimSigned(buildMime, { keys: [{ domain: "example.com", selector: "2026", privateKey }] });
 * ```
 *
 * @module
 */

export * from "./dkim_signed.ts";
