package api

import "strings"

var (
	longURL      = "https://tokens.shop.example/" + strings.Repeat("a", 256)
	long         = strings.Repeat("a", 257)
	longDuration = strings.Repeat("1h", 17)
)

// issuerRefusals are invalid TokenIssuers that sign, with what is common to both sorts.
var issuerRefusals = []refusal{
	{name: "a name that cannot be a label value", base: signingIssuer, objectName: strings.Repeat("n", 64),
		claim: issuer("<nil>", "the name of a TokenIssuer must be no more than 63 characters, because it becomes a label value")},
	{name: "the mounted Secret named like the ring", base: signingIssuer, objectName: "shop", change: `signing: {secret: {name: shop-keyring}}`,
		claim: issuer("<nil>", "signing.secret.name must not be the name of the TokenIssuer + -keyring or -refresh-keys: those Secrets hold the keys themselves")},
	{name: "the mounted Secret named like that of the refresh tokens", base: signingIssuer, objectName: "shop",
		change: `signing: {secret: {name: shop-refresh-keys}}`,
		claim:  issuer("<nil>", "signing.secret.name must not be the name of the TokenIssuer + -keyring or -refresh-keys: those Secrets hold the keys themselves")},
	{name: "neither signing nor external", base: signingIssuer, change: `signing: null`,
		claim: issuer("spec", "set exactly one of signing (the operator holds the keys) and external (somebody else does)")},
	{name: "both signing and external", base: signingIssuer, change: `external: {}`,
		claim: issuer("spec", "set exactly one of signing (the operator holds the keys) and external (somebody else does)")},

	{name: "no URL", base: signingIssuer, change: `issuerURL: null`, claim: issuer("spec.issuerURL", "Required value")},
	{name: "a URL that is too short", base: signingIssuer, change: `issuerURL: "https://"`,
		claim: issuer("spec.issuerURL", "should be at least 9 chars long")},
	{name: "a URL that is too long", base: signingIssuer, change: `issuerURL: ` + longURL,
		claim: issuer("spec.issuerURL", "may not be more than 256 bytes")},
	{name: "no scheme", base: signingIssuer, change: `issuerURL: tokens.shop.example`, claim: issuer("spec.issuerURL", notURL)},
	{name: "http", base: signingIssuer, change: `issuerURL: http://tokens.shop.example`, claim: issuer("spec.issuerURL", notURL)},
	{name: "no host", base: signingIssuer, change: `issuerURL: https:///shop`, claim: issuer("spec.issuerURL", notURL)},
	{name: "a port without a host", base: signingIssuer, change: `issuerURL: "https://:8443"`, claim: issuer("spec.issuerURL", notURL)},
	{name: "a space in the host", base: signingIssuer, change: `issuerURL: https://tokens shop`, claim: issuer("spec.issuerURL", notURL)},
	{name: "a backslash in the host", base: signingIssuer, change: `issuerURL: 'https://tokens\shop'`, claim: issuer("spec.issuerURL", notURL)},
	{name: "a port that is no number", base: signingIssuer, change: `issuerURL: https://tokens:https`, claim: issuer("spec.issuerURL", notURL)},
	{name: "a query", base: signingIssuer, change: `issuerURL: https://tokens.shop.example?tenant=1`, claim: issuer("spec.issuerURL", noQuery)},
	{name: "an empty fragment", base: signingIssuer, change: `issuerURL: "https://tokens.shop.example#"`, claim: issuer("spec.issuerURL", noQuery)},
	{name: "a user name", base: signingIssuer, change: `issuerURL: https://me@tokens.shop.example`, claim: issuer("spec.issuerURL", noUser)},
	{name: "a password", base: signingIssuer, change: `issuerURL: https://me:secret@tokens.shop.example`, claim: issuer("spec.issuerURL", noUser)},
	{name: "an upper-case host", base: signingIssuer, change: `issuerURL: https://Tokens.shop.example/a`, claim: issuer("spec.issuerURL", notLower)},
	{name: "an upper-case scheme", base: signingIssuer, change: `issuerURL: HTTPS://tokens.shop.example`, claim: issuer("spec.issuerURL", notLower)},
	{name: "upper-case IPv6", base: signingIssuer, change: `issuerURL: "https://[FD00::1]:8443/a"`, claim: issuer("spec.issuerURL", notLower)},

	{name: "a trailing slash", base: signingIssuer, change: `issuerURL: https://tokens.shop.example/`, claim: issuer("spec", noSlash)},
	{name: "a trailing slash after a path", base: signingIssuer, change: `issuerURL: https://tokens.shop.example/a/`, claim: issuer("spec", noSlash)},
	{name: "a path of the service itself", base: signingIssuer, change: `issuerURL: https://tokens.shop.example/verify`, claim: issuer("spec", taken)},
	{name: "a path below one of the service itself", base: signingIssuer, change: `issuerURL: https://tokens.shop.example:8443/issuers/shop`, claim: issuer("spec", taken)},
	{name: "the port that https has anyway", base: signingIssuer, change: `issuerURL: https://tokens.shop.example:443/a`, claim: issuer("spec", notPlainHost)},
	{name: "the same port with a zero", base: signingIssuer, change: `issuerURL: https://tokens.shop.example:0443`, claim: issuer("spec", notPlainHost)},
	{name: "a dot at the end of the host", base: signingIssuer, change: `issuerURL: https://tokens.shop.example.`, claim: issuer("spec", notPlainHost)},
	{name: "a dot before the port", base: signingIssuer, change: `issuerURL: https://tokens.shop.example.:8443`, claim: issuer("spec", notPlainHost)},
	{name: "a wildcard for a host", base: signingIssuer, change: `issuerURL: "https://*.shop.example"`, claim: issuer("spec", notPlainHost)},
	{name: "an empty path segment", base: signingIssuer, change: `issuerURL: https://tokens.shop.example//a`, claim: issuer("spec", notPlain)},
	{name: "a dot segment", base: signingIssuer, change: `issuerURL: https://tokens.shop.example/a/../b`, claim: issuer("spec", notPlain)},
	{name: "a well-known path", base: signingIssuer, change: `issuerURL: https://tokens.shop.example/.well-known/a`, claim: issuer("spec", notPlain)},
	{name: "an escape in the path", base: signingIssuer, change: `issuerURL: https://tokens.shop.example/%61`, claim: issuer("spec", notPlain)},

	{name: "no audiences", base: signingIssuer, change: `audiences: null`, claim: issuer("spec.audiences", "Required value")},
	{name: "an empty list of audiences", base: signingIssuer, change: `audiences: []`,
		claim: issuer("spec.audiences", "should have at least 1 items")},
	{name: "33 audiences", base: signingIssuer, change: `audiences: ` + list(33), claim: issuer("spec.audiences", "must have at most 32 items")},
	{name: "an audience twice", base: signingIssuer, change: `audiences: [a, a]`, claim: issuer("spec.audiences[]", "Duplicate value")},
	{name: "an empty audience", base: signingIssuer, change: `audiences: [""]`,
		claim: issuer("spec.audiences[]", "should be at least 1 chars long")},
	{name: "an audience of 257 characters", base: signingIssuer, change: `audiences: [` + long + `]`,
		claim: issuer("spec.audiences[]", "may not be more than 256 bytes")},

	{name: "algorithm none", base: signingIssuer, change: `signing: {algorithm: none}`,
		claim: issuer("spec.signing.algorithm", "Unsupported value")},
	{name: "a weak RSA key", base: signingIssuer, change: `signing: {algorithm: RS256, keySize: 1024}`,
		claim: issuer("spec.signing.keySize", "Unsupported value")},
	{name: "a key size for a curve", base: signingIssuer, change: `signing: {algorithm: ES256, keySize: 2048}`,
		claim: issuer("spec.signing", "keySize is for RS and PS algorithms only: the size of every other key follows from its algorithm")},
	{name: "an unknown deletion policy", base: signingIssuer, change: `signing: {deletionPolicy: Orphan}`,
		claim: issuer("spec.signing.deletionPolicy", "Unsupported value")},

	{name: "a period without a unit", base: signingIssuer, change: `signing: {rotation: {period: "720"}}`,
		claim: issuer("spec.signing.rotation.period", duration)},
	{name: "a long way to write a period", base: signingIssuer, change: `signing: {rotation: {period: ` + longDuration + `}}`,
		claim: issuer("spec.signing.rotation.period", "may not be more than 32 bytes")},
	{name: "a period under a second", base: signingIssuer, change: `signing: {rotation: {period: 999ms}}`,
		claim: issuer("spec.signing.rotation.period", "signing.rotation.period must be from 1s to 87600h")},
	{name: "a period over ten years", base: signingIssuer, change: `signing: {rotation: {period: 87601h}}`,
		claim: issuer("spec.signing.rotation.period", "signing.rotation.period must be from 1s to 87600h")},
	{name: "a period that ends before the next key is known", base: signingIssuer, change: `signing: {rotation: {period: 12m29s}}`,
		claim: issuer("spec", periodTooShort)},
	{name: "a lifetime over 20 periods", base: signingIssuer, change: `
signing: {rotation: {period: 1h}}
tokens: {maxLifetime: 20h1s}`, claim: issuer("spec", lifetimeTooLong)},
	{name: "the default lifetime over 20 periods", base: signingIssuer, change: `
signing: {rotation: {period: 44s}, secret: {propagationDelay: 0s}}
jwks: {maxAge: 1s}
tokens: {clockSkew: 0s}`, claim: issuer("spec", lifetimeTooLong)},

	{name: "an empty Secret name", base: signingIssuer, change: `signing: {secret: {name: ""}}`,
		claim: issuer("spec.signing.secret.name", "should be at least 1 chars long")},
	{name: "a Secret name of 254 characters", base: signingIssuer, change: `signing: {secret: {name: ` + strings.Repeat("a", 254) + `}}`,
		claim: issuer("spec.signing.secret.name", "may not be more than 253 bytes")},
	{name: "a Secret name in upper case", base: signingIssuer, change: `signing: {secret: {name: Keys}}`,
		claim: issuer("spec.signing.secret.name", "signing.secret.name must be the name of a Secret: lower-case letters, digits, '-' and '.'")},
	{name: "a delay in words", base: signingIssuer, change: `signing: {secret: {propagationDelay: soon}}`,
		claim: issuer("spec.signing.secret.propagationDelay", duration)},
	{name: "a long way to write a delay", base: signingIssuer, change: `signing: {secret: {propagationDelay: ` + longDuration + `}}`,
		claim: issuer("spec.signing.secret.propagationDelay", "may not be more than 32 bytes")},
	{name: "a delay over a day", base: signingIssuer, change: `signing: {secret: {propagationDelay: 24h1s}}`,
		claim: issuer("spec.signing.secret.propagationDelay", "signing.secret.propagationDelay must be from 0s to 24h")},

	{name: "17 labels", base: signingIssuer, change: `signing: {secret: {template: {labels: ` + mapping(17) + `}}}`,
		claim: issuer("spec.signing.secret.template.labels", "must have at most 16 items")},
	{name: "a reserved label", base: signingIssuer, change: `signing: {secret: {template: {labels: {keyturn.dev/component: keyring}}}}`,
		claim: issuer("spec.signing.secret.template.labels", "label keys under keyturn.dev/ are reserved for the operator")},
	{name: "a label below the reserved ones", base: signingIssuer, change: `signing: {secret: {template: {labels: {a.keyturn.dev/b: c}}}}`,
		claim: issuer("spec.signing.secret.template.labels", "label keys under keyturn.dev/ are reserved for the operator")},
	{name: "a bad label key", base: signingIssuer, change: `signing: {secret: {template: {labels: {"a b": c}}}}`, claim: issuer("spec.signing.secret.template.labels", badLabel)},
	{name: "a bad label value", base: signingIssuer, change: `signing: {secret: {template: {labels: {a: "b c"}}}}`, claim: issuer("spec.signing.secret.template.labels", badLabel)},
	{name: "a label value of 64 characters", base: signingIssuer, change: `signing: {secret: {template: {labels: {a: ` + strings.Repeat("b", 64) + `}}}}`,
		claim: issuer("spec.signing.secret.template.labels."+mapKey, "may not be more than 63 bytes")},
	{name: "17 annotations", base: signingIssuer, change: `signing: {secret: {template: {annotations: ` + mapping(17) + `}}}`,
		claim: issuer("spec.signing.secret.template.annotations", "must have at most 16 items")},
	{name: "a reserved annotation", base: signingIssuer, change: `signing: {secret: {template: {annotations: {keyturn.dev/ring-revision: "1"}}}}`,
		claim: issuer("spec.signing.secret.template.annotations", "annotation keys under keyturn.dev/ are reserved for the operator")},
	{name: "a bad annotation key", base: signingIssuer, change: `signing: {secret: {template: {annotations: {"a b": c}}}}`, claim: issuer("spec.signing.secret.template.annotations", badAnnotation)},
	{name: "an annotation of 4097 characters", base: signingIssuer, change: `signing: {secret: {template: {annotations: {a: ` + strings.Repeat("b", 4097) + `}}}}`,
		claim: issuer("spec.signing.secret.template.annotations."+mapKey, "may not be more than 4096 bytes")},

	{name: "an age in days", base: signingIssuer, change: `jwks: {maxAge: 1d}`, claim: issuer("spec.jwks.maxAge", duration)},
	{name: "a long way to write an age", base: signingIssuer, change: `jwks: {maxAge: ` + longDuration + `}`,
		claim: issuer("spec.jwks.maxAge", "may not be more than 32 bytes")},
	{name: "an age of nothing", base: signingIssuer, change: `jwks: {maxAge: 0s}`,
		claim: issuer("spec.jwks.maxAge", "jwks.maxAge must be from 1s to 24h")},

	{name: "a lifetime without a number", base: signingIssuer, change: `tokens: {maxLifetime: h}`, claim: issuer("spec.tokens.maxLifetime", duration)},
	{name: "a long way to write a lifetime", base: signingIssuer, change: `tokens: {maxLifetime: ` + longDuration + `}`,
		claim: issuer("spec.tokens.maxLifetime", "may not be more than 32 bytes")},
	{name: "a lifetime of two days", base: signingIssuer, change: `tokens: {maxLifetime: 48h}`,
		claim: issuer("spec.tokens.maxLifetime", "tokens.maxLifetime must be from 10s to 24h: an access token cannot be longer-lived than a day")},
	{name: "a negative skew", base: signingIssuer, change: `tokens: {clockSkew: -1s}`, claim: issuer("spec.tokens.clockSkew", duration)},
	{name: "a long way to write a skew", base: signingIssuer, change: `tokens: {clockSkew: ` + longDuration + `}`,
		claim: issuer("spec.tokens.clockSkew", "may not be more than 32 bytes")},
	{name: "a skew over five minutes", base: signingIssuer, change: `tokens: {clockSkew: 5m0.001s}`,
		claim: issuer("spec.tokens.clockSkew", "tokens.clockSkew must be from 0s to 5m")},
	{name: "nine types", base: signingIssuer, change: `tokens: {types: ` + list(9) + `}`, claim: issuer("spec.tokens.types", "must have at most 8 items")},
	{name: "a type twice", base: signingIssuer, change: `tokens: {types: [JWT, JWT]}`, claim: issuer("spec.tokens.types[]", "Duplicate value")},
	{name: "a type of 65 characters", base: signingIssuer, change: `tokens: {types: [` + strings.Repeat("a", 65) + `]}`,
		claim: issuer("spec.tokens.types[]", "may not be more than 64 bytes")},
	{name: "33 scopes", base: signingIssuer, change: `tokens: {requiredScopes: ` + list(33) + `}`,
		claim: issuer("spec.tokens.requiredScopes", "must have at most 32 items")},
	{name: "a scope twice", base: signingIssuer, change: `tokens: {requiredScopes: [a, a]}`, claim: issuer("spec.tokens.requiredScopes[]", "Duplicate value")},
	{name: "two scopes in one", base: signingIssuer, change: `tokens: {requiredScopes: ["a b"]}`,
		claim: issuer("spec.tokens.requiredScopes[]", `should match '^[\x21\x23-\x5B\x5D-\x7E]+$'`)},
	{name: "a scope of 129 characters", base: signingIssuer, change: `tokens: {requiredScopes: [` + strings.Repeat("a", 129) + `]}`,
		claim: issuer("spec.tokens.requiredScopes[]", "may not be more than 128 bytes")},
	{name: "no groups claim", base: signingIssuer, change: `tokens: {groupsClaim: ""}`,
		claim: issuer("spec.tokens.groupsClaim", "should be at least 1 chars long")},
	{name: "a groups claim of 65 characters", base: signingIssuer, change: `tokens: {groupsClaim: ` + strings.Repeat("a", 65) + `}`,
		claim: issuer("spec.tokens.groupsClaim", "may not be more than 64 bytes")},
}

const (
	periodTooShort  = "signing.rotation.period must be at least jwks.maxAge + tokens.clockSkew + signing.secret.propagationDelay: a new key may sign only when every verifier can know it, and the old one is in use until every workload has the new one"
	lifetimeTooLong = "tokens.maxLifetime (15m when left out) must be at most 20 times signing.rotation.period, or too many retiring keys would fill the JWKS"
	badLabel        = "labels must have valid label keys and values (at most 63 letters, digits, '-', '_' and '.')"
	badAnnotation   = "annotations must have valid annotation keys"
)
