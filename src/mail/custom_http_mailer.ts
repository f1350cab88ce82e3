/** The kit of mailers over HTTP for users: the one that ours are made from, with its provider checked. */
import { checkInteger, checkMethods, checkNeededOptions, type OptionNames } from "../validate.ts";
import { httpMailer as mailerOf, type Provider } from "./http_mailer.ts";
import type { Mailer } from "./mailer.ts";
import { prepareMessage } from "./message.ts";
import { selectRecipients } from "./partial.ts";

const TASK = "make a mailer over HTTP";

const PROVIDER = {
  name: true,
  timeout: true,
  maxBytes: true,
  maxRecipients: true,
  withoutTo: true,
  scheduleHours: true,
  deduplicates: true,
  selectsRecipients: true,
  options: true,
  defaults: true,
  template: true,
  success: true,
  exchange: true,
  request: true,
  id: true,
  withoutId: true,
  refusal: true,
} satisfies OptionNames<Provider>;

/**
 * A mailer for a provider with an API over HTTP: the kit that our own mailers are made from. It checks the
 * message, bounds the request and its reply, and says of every failure whether anything was sent.
 *
 * @throws {TypeError} when something needed is missing, or `defaults` holds an option that is not one of
 *   `options`
 * @throws {RangeError} when the timeout, `maxBytes` or `maxRecipients` is not positive
 * @category Mail
 * @example
 * ```ts
 * import { fetchExchange, httpMailer, jsonRequest } from "@holdfast/edge/mail";
 * const fetch = () => Promise.resolve(Response.json({ id: "17" })); // leave this out
 * const mailer = httpMailer({
 *   name: "example",
 *   maxBytes: 10_000_000,
 *   maxRecipients: 50,
 *   success: [200],
 *   exchange: fetchExchange("https://api.example.com", { fetch }, { authorization: "Bearer key" }),
 *   request: async ({ from, to, subject, text }) =>
 *     await jsonRequest("/send", { from: from.address, to: to.map(({ address }) => address), subject, text }),
 *   id: ({ json }) => json.id,
 * });
 * const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
 * if ((await mailer.send(message)).id !== "17") throw new Error("unexpected");
 * ```
 */
export function httpMailer<Options extends object>(provider: Provider<Options>): Mailer {
  checkNeededOptions(TASK, provider, PROVIDER, "a provider");
  if (typeof provider.name !== "string" || provider.name === "" || !Array.isArray(provider.success)) {
    throw new TypeError(`Cannot ${TASK} as 'name' must be a text, and 'success' a list of status codes`);
  }
  checkInteger(TASK, "maxBytes", provider.maxBytes);
  checkInteger(TASK, "maxRecipients", provider.maxRecipients);
  checkMethods(TASK, "'exchange', 'request' and 'id' must be functions", provider, [
    "exchange",
    "request",
    "id",
  ]);
  const mailer = mailerOf(provider);
  if (!provider.selectsRecipients) return mailer;
  return {
    ...mailer,
    // Builders of MIME check the recipients themselves, so our own mailers leave it to them.
    async send(input, options) {
      const message = prepareMessage(input);
      if (Array.isArray(options?.recipients)) selectRecipients(message, options.recipients);
      return await mailer.send(message, options);
    },
  };
}
