package main

// sentences are what constants mean to users, where the comment in the code says something to programmers or there is
// none. Each follows the word itself.
var sentences = map[string]string{
	"LabelComponent": "marks what the operator owns, with one of the values below. The operator caches only objects with it, and " +
		"treats an object of an expected name without it as somebody else's.",
	"ComponentKeyring":    "is the Secret with the ring of signing keys.",
	"ComponentSigningKey": "is the Secret that workloads mount.",
	"ComponentJWKS":       "is the ConfigMap with the public keys.",

	"ConditionRotationOverdue": "is True while a rotation that should have happened has not, of signing keys or of keys for refresh tokens.",

	"ConditionEnforced": "says that every live replica of the operator denies what the revocation names.",

	"ReasonAccepted":    "The object is acted on.",
	"ReasonURLConflict": "An older TokenIssuer has the same issuer URL and keeps it. Delete one of the two.",
	"ReasonReady":       "The active key is published, and signs; of an external issuer: its keys have been fetched.",
	"ReasonPending":     "The keys have not been created or fetched yet. That takes moments.",
	"ReasonNotAccepted": "The condition Accepted is False, and says why.",
	"ReasonRingUnreadable": "The Secret with the ring cannot be understood. It is not overwritten: restore it from a backup, or delete " +
		"it to begin with new keys.",
	"ReasonRingFull": "A rotation waits because the ring is full of keys whose tokens have not expired. Shorten " +
		"tokens.maxLifetime, or lengthen signing.rotation.period.",
	"ReasonSecretConflict": "An object that Keyturn must write or delete is somebody else's. The message says what to do.",
	"ReasonWriteFailed":    "A Secret or the ConfigMap could not be read or written. The message has the answer of the API server.",
	"ReasonRotationOverdue": "A rotation has not happened when it should have. The old key goes on verifying. The message says what is " +
		"in the way.",
	"ReasonKeysLost": "The Secret with the ring had vanished or was put back to an older state. Tokens that the lost keys " +
		"signed are refused.",
	"ReasonKeysStale": "The keys of the external issuer are older than external.maxStaleness, so its tokens are denied.",
	"ReasonKeysUnavailable": "The keys of the external issuer have never been fetched. The message says what went wrong. Check " +
		"issuerURL, or set external.jwksURL.",
	"ReasonRefreshKeysUnreadable": "The Secret with the keys for refresh tokens cannot be understood. It is not overwritten: restore " +
		"it from a backup, or delete it, and everybody logs in again.",
	"ReasonRefreshKeysFull": "A new key for refresh tokens waits, because there are too many whose sessions may not have expired. " +
		"Revoke those in status.refreshKeys that are not needed any more.",
	"ReasonIssuerNotFound": "There is no TokenIssuer of that name in the namespace. The revocation takes effect as soon as there is.",
	"ReasonEnforced":       "What the revocation names is denied.",
	"ReasonNotYetApplied":  "It is not denied everywhere yet. The message says what is waited for.",
	"ReasonKeyNotFound": "The key id is denied, but the TokenIssuer has no such key and has dropped none. Compare the id, and delete " +
		"the revocation if it is a mistake.",
	"ReasonExpired": "Every token that the revocation names has expired. It is kept because of retainAfterExpiry.",

	"EventKeyCreated":   "A signing key was made. It is Next.",
	"EventKeyActivated": "A key began to sign.",
	"EventKeyRetired":   "A key ceased to sign, and its private half was destroyed.",
	"EventKeyRemoved":   "A key left the JWKS, because its last token has expired.",
	"EventKeyRevoked":   "A key was dropped because of a TokenRevocation.",

	"EventRefreshKeyCreated": "A key for refresh tokens was made.",
	"EventRefreshKeyRemoved": "A key for refresh tokens was removed, because its last session has expired.",
	"EventRefreshKeyRevoked": "A key for refresh tokens was dropped because of a TokenRevocation.",
	"EventRefreshKeysLost": "The Secret with the keys for refresh tokens had vanished and was made anew. Every session has to log in " +
		"again.",
}
