// Package token verifies JWT access tokens: their parsing, the checklist, and the reasons for which they are denied.
package token

// Reason says in one stable word why a token was denied. It is a metric label, so the set is closed.
type Reason string

// The reasons, in the order of the checklist.
const (
	// Allowed is the reason of a token that was not denied.
	Allowed Reason = "ok"

	NotSynced           Reason = "NotSynced"
	TokenMissing        Reason = "TokenMissing"
	TokenAmbiguous      Reason = "TokenAmbiguous"
	TokenTooLarge       Reason = "TokenTooLarge"
	Malformed           Reason = "Malformed"
	AlgorithmNotAllowed Reason = "AlgorithmNotAllowed"
	HeaderNotAllowed    Reason = "HeaderNotAllowed"
	CriticalUnknown     Reason = "CriticalUnknown"
	KeyIDMissing        Reason = "KeyIDMissing"
	IssuerUnknown       Reason = "IssuerUnknown"
	IssuerMismatch      Reason = "IssuerMismatch"
	KeysStale           Reason = "KeysStale"
	KeyUnknown          Reason = "KeyUnknown"
	KeyRevoked          Reason = "KeyRevoked"
	SignatureInvalid    Reason = "SignatureInvalid"
	ClaimMissing        Reason = "ClaimMissing"
	Expired             Reason = "Expired"
	NotYetValid         Reason = "NotYetValid"
	IssuedInFuture      Reason = "IssuedInFuture"
	LifetimeExceeded    Reason = "LifetimeExceeded"
	AudienceMismatch    Reason = "AudienceMismatch"
	TypeNotAllowed      Reason = "TypeNotAllowed"
	ScopeInsufficient   Reason = "ScopeInsufficient"
	Revoked             Reason = "Revoked"
)
