/** Messages as Amazon SNS signs them, with a key and a certificate of the tests' own. */
import { createSign } from "node:crypto";

/** The certificate, as Amazon publishes its own. */
export const SNS_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIDGzCCAgOgAwIBAgIULYxaGUURlvLo87VbizPydS4CVXowDQYJKoZIhvcNAQEL
BQAwHDEaMBgGA1UEAwwRc25zLmFtYXpvbmF3cy5jb20wIBcNMjYxMTI4MjE1NjEy
WhgPMjEyNjExMDQyMTU2MTJaMBwxGjAYBgNVBAMMEXNucy5hbWF6b25hd3MuY29t
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmuXysB+09E3DJQS4Nnuu
9zC8LB8obLNwTn+WfwIkxdytoBoxQin98OXLMFgQaqVz0ETKZVY+Bvxj5vXAjgPB
tnnF+/197jGGBe2vwuzlI9j1dYn0SJu27xz9G1wjw2R+8N1AcmDlhKTuPmZBuajn
7fUADsGw47xlZ8vuhl9B3KxFizHRaRlqq7lrGjYJtZUg+j+bPPBg4C6GijVWplTW
biow8w0rNwpkcCcSRy2B44UQpnJDQ68rd0dVrgSVUMx2RdxvTUOGqTwhkKLt4I/M
L7jLxili+YSI3fFx9hT5+Re70NyG2WqasKvhb5gXWKSsqxbyloEGvsCGLpeGUO7c
eQIDAQABo1MwUTAdBgNVHQ4EFgQUZCH7de/P8Y7uHPTdW4DiZHpasPEwHwYDVR0j
BBgwFoAUZCH7de/P8Y7uHPTdW4DiZHpasPEwDwYDVR0TAQH/BAUwAwEB/zANBgkq
hkiG9w0BAQsFAAOCAQEAhshyzzOFngIVumBXnAV7q+IDZ+EYysZ3MV5Y5EvP159d
vV0vb/sJYMIwD5kkgWSQD95N+QxJsq1LTHM82Adkn9OCRT49h3peBJnsVNebnAPD
/esqaXEPTHCC/fP/eH1ru2il5m5z07Lma83NkPSFANnSbzlbXf78vKImU496++rE
rggSvl27U2xmpNc5yFLGrWbuT4uVxk6L5SUixIigmSX46U/R3WrpR6bSTwjSgn/l
9wQH7vJx3vn4pcW0t8ChAUW4TaabWdfQI6YpEAPGFF9fZEWl2gheWyZgFYpz2wPp
sCZwsR6WF9ObB9jQw8gAWq0DUVtbSwGcTWR8karaCw==
-----END CERTIFICATE-----`;

const KEY = `-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCa5fKwH7T0TcMl
BLg2e673MLwsHyhss3BOf5Z/AiTF3K2gGjFCKf3w5cswWBBqpXPQRMplVj4G/GPm
9cCOA8G2ecX7/X3uMYYF7a/C7OUj2PV1ifRIm7bvHP0bXCPDZH7w3UByYOWEpO4+
ZkG5qOft9QAOwbDjvGVny+6GX0HcrEWLMdFpGWqruWsaNgm1lSD6P5s88GDgLoaK
NVamVNZuKjDzDSs3CmRwJxJHLYHjhRCmckNDryt3R1WuBJVQzHZF3G9NQ4apPCGQ
ou3gj8wvuMvGKWL5hIjd8XH2FPn5F7vQ3IbZapqwq+FvmBdYpKyrFvKWgQa+wIYu
l4ZQ7tx5AgMBAAECggEAK8dCxJFpiMSzmzJOyCNDy5xMCqJRwAsk+iKoS8Q01XEt
5zqP4nXQzjV8LHEvTpztcxcGJwbtZ/cMWznozpp0NNkM4k/+OARqLyHC07I1fuCy
WyJ+1siftsv4IzPy7aXpFLVLoigNpmQg66Tl/Y2l40Sj3AfVMUBNXr0t8G9aw33B
78Q4Mgfut4w6OcIZbU5xBOaeyLRZEhwzyHVI0g2aqLteIXGVjgn4ILynl/GM6/05
cT41C/zaJDWuKM9h1xO3g3ziebb0rNFT87dJtcJF+k1tcgXEBfIIltWuldTyJA6f
gULeADpat3pN4b9vWMwQVvy5b//c5+r54Xj8t9V0ewKBgQDaLSc9KNKlP/12Ra/W
NvUtNEN4hbpxvP7LP5AfWe1zkAjPLH+QhHJPKCRErJS3PckqK9PbSswFuRfJJi+b
2WQFemp0C4+kwg0C895oiZakStyQ2zajtJq0ItEmRiIWbLpwEwZjmS4BghmoxtYS
PW0yPbYcyQVuVwICc/4V1vs2EwKBgQC1wHVuFLJtOOMtOiHGZk778Zvq/6UWALTE
c+Sva1RWgAlV0rEjX0DArg+/tmAHzg4IYCDy22bKe1fBkaTv+pbn2KHEp8ISPQM6
KDYsFThOyQozzrrMipdhk3L7JufsGLhh60LUXbgOMzGraFcyJxqhwRknSAzpMvhh
C7W8O14kwwKBgDIxMxbB3nv/1aqw63vnls34eREwCq2B4kgV7m0X/iWY3D31Kb+w
iK+nN3jJD0l8oFvgS1PmyDsE0vEGpOtAvt73w6fAxSINNnsYaXE5Pfu78TQuCkrt
EK4iWGVquwrXpqiD5/Nf2RKlwItweu0lTorBYbULlgFFaQPxdWHG3HIbAoGBAJVT
o+emn5Y3WAcvrNJJ+njrYDQqiCNUvzBtG6W4pBlRptnZempad2QXXp8fozSmakcd
W9TMyF5yCn7iP8Zfd57TEM33Gu9LK5ybry523MV2TaiVIEqvT4L+10hcBc6n3M2u
skCzI2afTx7KYmG1WR8u/JCWlO0AUKvDKDSX/lhrAoGAf6Mqz6xCOa5lf0qg9KMY
dwxfhqipX8yTTGpawKZJXOtyldf/yhM16zxCM5tlYzaxYA6DzfZ2uIRv++K4wh/5
EMtmUf1/8soTysTPkJQV6PGuzjrEffsYhXq8V9SyJXDZ8xs3pFNDCBTd9+znTE6q
0gD/7U6DSJLOz8h2jTjWkBc=
-----END PRIVATE KEY-----`;

/** The topic that messages are of. */
export const SNS_TOPIC = "arn:aws:sns:us-east-1:123456789012:bounces";

/** The address of the certificate. */
export const SNS_CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-test.pem";

/** Signs a message by the published rules: its fields in their order, each on two lines. */
export function snsMessage(fields: Readonly<Record<string, string>>): Record<string, string> {
  const message: Record<string, string> = {
    Type: "Notification",
    MessageId: crypto.randomUUID(),
    TopicArn: SNS_TOPIC,
    Message: "{}",
    Timestamp: new Date().toISOString(),
    SignatureVersion: "2",
    SigningCertURL: SNS_CERTIFICATE_URL,
    ...fields,
  };
  const names = message.Type === "Notification"
    ? ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    : ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
  const content = names.flatMap((name) => message[name] === undefined ? [] : [name, message[name]]);
  const sign = createSign(message.SignatureVersion === "1" ? "RSA-SHA1" : "RSA-SHA256");
  sign.update(content.join("\n") + "\n");
  return { ...message, Signature: sign.sign(KEY, "base64") };
}
