/** Our mailers over HTTP, and the binding of Cloudflare, by the names that scenarios and child processes know. */
export const HTTP_MAILERS: readonly string[] = [
  "resend",
  "sendgrid",
  "ses",
  "ses, raw",
  "mailgun",
  "mailgun, MIME",
  "postmark",
  "brevo",
  "cloudflare",
];
