import { runSasl, type SmtpMechanism } from "./sasl.ts";

/**
 * OAUTHBEARER: an access token by the standard, where XOAUTH2 is Google's and Microsoft's own.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7628
 * @category Mailers
 * @example
 * ```ts
 * import { denoConnector, oauthBearer, smtpMailer } from "@holdfast/edge/smtp";
 * const auth = { username: "shop@example.com", accessToken: "token", mechanism: oauthBearer };
 * const mailer = smtpMailer({ connector: denoConnector(), host: "smtp.example.com", auth });
 * if (mailer.name !== "smtp") throw new Error("unexpected");
 * ```
 */
export const oauthBearer: SmtpMechanism = {
  name: "OAUTHBEARER",
  authenticate({ username, secret }, send) {
    const name = username.replace(/[=,]/g, (sign) => sign === "=" ? "=3D" : "=2C");
    // A challenge is an error's text: this answer to it asks for the error itself (3.2.3).
    const respond = () => "\x01";
    return runSasl("OAUTHBEARER", { begin: `n,a=${name},\x01auth=Bearer ${secret}\x01\x01`, respond }, send);
  },
};
