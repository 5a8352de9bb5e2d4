package token

// sentences says for each reason what happened and what a person can do. They are sent as error_description, so they
// are printable ASCII without quotes and backslashes (RFC 6750 section 3), and they repeat nothing that the token holds.
var sentences = map[Reason]string{
	Allowed:             "The token is good.",
	NotSynced:           "The verifier has not yet read all issuers and revocations; try again in a few seconds.",
	TokenMissing:        "No token was sent; send one in the header Authorization: Bearer.",
	TokenAmbiguous:      "More than one token was sent; send exactly one.",
	TokenTooLarge:       "The token is larger than 16 KiB; ask its issuer to put fewer claims into it.",
	Malformed:           "The token is not a well-formed JWT in compact form; send it exactly as it was issued.",
	AlgorithmNotAllowed: "The token names an algorithm that its key does not verify; get one signed with the algorithm of the issuer.",
	HeaderNotAllowed:    "The header of the token carries a key, a key URL or b64, which is never trusted; get one without it.",
	CriticalUnknown:     "The header of the token marks an extension as critical that is not supported; get one without crit.",
	KeyIDMissing:        "The header of the token names no key; its issuer must set kid.",
	IssuerUnknown:       "No issuer is configured for the claim iss of the token; check that the token is meant for this service.",
	IssuerMismatch:      "The token is of another issuer than those that are accepted here; get one for this service.",
	KeysStale:           "The keys of the issuer have never been fetched, or for too long not; check the status of its TokenIssuer.",
	KeyUnknown:          "The key that the token names is not one of its issuer; get a new token.",
	KeyRevoked:          "The key that signed the token was revoked; get a new token.",
	SignatureInvalid:    "The signature of the token is wrong; send it exactly as it was issued, or get a new one.",
	ClaimMissing:        "The token lacks a required claim: iss, aud, exp, iat, or sub in a token of type at+jwt.",
	Expired:             "The token has expired; get a new one.",
	NotYetValid:         "The token is not valid yet; wait, or check the clock of its issuer.",
	IssuedInFuture:      "The token was issued in the future; check the clock of its issuer.",
	LifetimeExceeded:    "The token lives longer than its issuer allows; get one with a shorter lifetime.",
	AudienceMismatch:    "The token is meant for another audience; get one for this service.",
	TypeNotAllowed:      "The token is not an access token; do not send an ID token or a refresh token.",
	ScopeInsufficient:   "The token lacks a scope that this request needs; get one with more scope.",
	Revoked:             "The token was revoked; log in again.",
}

// Sentence says what the reason means and what a person can do about it, fit for error_description.
func (r Reason) Sentence() string {
	if sentence, ok := sentences[r]; ok {
		return sentence
	}
	return "The token was refused."
}
