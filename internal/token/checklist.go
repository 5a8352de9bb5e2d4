package token

import (
	"crypto/sha256"
	"slices"
	"time"
	"unsafe"

	"github.com/keyturn/keyturn/internal/revocation"
)

// input is what the checks of one request read, and what the earlier ones find out for the later ones.
type input struct {
	verifier *Verifier
	raw      string
	want     Want
	now      time.Time

	digest digest
	// token is set by checkShape, and signature too, unless the token was seen before: then by checkSignature, if it has to
	// be verified with another key.
	token     *seen
	signature []byte
	// newHeader is true when the header of the token is not among those that are known.
	newHeader bool
	// issuer is set by checkIssuer, and key by checkKey.
	issuer *Issuer
	key    *Key
}

// checklist is what a token must pass, in this order. A check returns Allowed to pass it on to the next. On a token that
// was seen before all of them run too: only parsing and the signature are not done again.
var checklist = [...]func(*input) Reason{
	checkSynced,
	checkSize,
	checkShape,
	checkIssuer,
	checkKey,
	checkSignature,
	checkRequiredClaims,
	checkTimes,
	checkLifetime,
	checkAudience,
	checkType,
	checkScope,
	checkRevocations,
}

func checkSynced(in *input) Reason {
	if !in.verifier.directory.Synced() {
		return NotSynced
	}
	return Allowed
}

func checkSize(in *input) Reason {
	switch {
	case in.raw == "":
		return TokenMissing
	case len(in.raw) > MaxTokenBytes:
		return TokenTooLarge
	}
	return Allowed
}

// checkShape parses the token, and with it checks its header, unless it is known.
func checkShape(in *input) Reason {
	if in.verifier.cache != nil {
		// Not []byte(raw), which would copy the token. Nothing writes to the bytes.
		//nolint:gosec // See above: the bytes are only read, and only while the string lives.
		in.digest = sha256.Sum256(unsafe.Slice(unsafe.StringData(in.raw), len(in.raw)))
		if in.token = in.verifier.cache.find(in.digest); in.token != nil {
			return Allowed
		}
	}
	parts, reason := decode(in.raw)
	if reason != Allowed {
		return reason
	}
	header := in.verifier.headers.find(headerSegment(in.raw))
	if header == nil {
		parsed, reason := parseHeader(parts.header)
		if reason != Allowed {
			return reason
		}
		header, in.newHeader = &parsed, true
	}
	in.token, in.signature = &seen{header: header}, parts.signature
	if !in.token.claims.parse(parts.payload) {
		return Malformed
	}
	return Allowed
}

// checkIssuer finds the issuer by what the token says, which is not verified yet. It selects the keys, and each key
// belongs to one issuer. An audience alone says nothing of who may issue for it: any issuer can.
func checkIssuer(in *input) Reason {
	if in.token.claims.Issuer == "" {
		return ClaimMissing
	}
	in.issuer = in.verifier.directory.ByURL(in.token.claims.Issuer)
	switch {
	case in.issuer == nil:
		return IssuerUnknown
	case in.issuer.Revocations == nil:
		return NotSynced
	case len(in.want.Issuers) > 0 && !slices.ContainsFunc(in.want.Issuers, in.issuer.is):
		return IssuerMismatch
	}
	return Allowed
}

// checkKey finds the key by its id alone, and then holds the algorithm of the token against the key: never the other way
// round (RFC 8725 section 3.1). A revoked key is not fetched anew.
func checkKey(in *input) Reason {
	keyID := in.token.header.KeyID
	if in.issuer.Revocations.KeyRevoked(keyID) {
		return KeyRevoked
	}
	if !in.issuer.KeysStale && in.issuer.Keys[keyID] == nil && in.issuer.Refetch != nil {
		if after := in.issuer.Refetch(keyID); after != nil && after.Revocations != nil {
			in.issuer = after
		}
	}
	if in.issuer.KeysStale {
		return KeysStale
	}
	if in.key = in.issuer.Keys[keyID]; in.key == nil {
		return KeyUnknown
	}
	if !slices.Contains(in.key.Algorithms, in.token.header.Algorithm) {
		return AlgorithmNotAllowed
	}
	return Allowed
}

// checkSignature relies on an earlier check only if this very key made it. What it finds good is remembered at once, so
// that nothing but a good signature can fill the cache.
func checkSignature(in *input) Reason {
	if in.token.verifiedBy == in.key {
		return Allowed
	}
	if in.token.verifiedBy != nil {
		parts, _ := decode(in.raw)
		in.signature = parts.signature
	}
	if !verifySignature(in.raw, in.signature, in.token.header.Algorithm, in.key) {
		return SignatureInvalid
	}
	if in.token.verifiedBy != nil {
		// It came from the cache, with the key that had the same id before. Others may be reading it.
		anew := *in.token
		in.token = &anew
	}
	in.token.verifiedBy = in.key
	in.token.expires = in.token.claims.Expiry.Add(in.issuer.ClockSkew).UnixMicro()
	if in.newHeader {
		in.token.header = in.verifier.headers.remember(headerSegment(in.raw), in.token.header)
	}
	in.verifier.cache.remember(in.digest, in.token, in.now)
	return Allowed
}

// checkRequiredClaims asks for the subject only where the token promises one (RFC 9068 section 2.2).
func checkRequiredClaims(in *input) Reason {
	claims := &in.token.claims
	if claims.Expiry.IsZero() || claims.IssuedAt.IsZero() || len(claims.Audiences) == 0 {
		return ClaimMissing
	}
	if in.token.header.Type == "at+jwt" && claims.Subject == "" {
		return ClaimMissing
	}
	return Allowed
}

// checkTimes gives the benefit of the skew to the token in each comparison. A token is good before "exp", and from "nbf"
// and "iat" on.
func checkTimes(in *input) Reason {
	claims, skew := &in.token.claims, in.issuer.ClockSkew
	switch {
	case !in.now.Before(claims.Expiry.Add(skew)):
		return Expired
	case in.now.Add(skew).Before(claims.NotBefore):
		return NotYetValid
	case in.now.Add(skew).Before(claims.IssuedAt):
		return IssuedInFuture
	}
	return Allowed
}

// checkLifetime holds the token to what was promised of its key: neither the key's removal nor the expiry of a revocation
// waits longer.
func checkLifetime(in *input) Reason {
	if in.token.claims.Expiry.Sub(in.token.claims.IssuedAt) > in.key.MaxLifetime {
		return LifetimeExceeded
	}
	return Allowed
}

func checkAudience(in *input) Reason {
	accepted := in.want.Audiences
	if len(accepted) == 0 {
		accepted = in.issuer.Audiences
	}
	for _, audience := range accepted {
		if audience != "" && slices.Contains(in.token.claims.Audiences, audience) {
			return Allowed
		}
	}
	return AudienceMismatch
}

// checkType looks at the claims too where the header says no more than that the token is a JWT.
func checkType(in *input) Reason {
	header := in.token.header
	if !slices.Contains(in.issuer.Types, header.Type) || (header.Generic() && in.token.claims.foreign) {
		return TypeNotAllowed
	}
	return Allowed
}

func checkScope(in *input) Reason {
	required := in.want.Scopes
	if len(required) == 0 && !in.want.AnyScope {
		required = in.issuer.Scopes
	}
	for _, scope := range required {
		if !slices.Contains(in.token.claims.Scopes, scope) {
			return ScopeInsufficient
		}
	}
	return Allowed
}

func checkRevocations(in *input) Reason {
	claims := &in.token.claims
	// Put together on the stack at each request: in a remembered token it would be a sixth of the memory.
	facts := revocation.Facts{
		TokenID: claims.ID, SessionID: claims.SessionID, Subject: claims.Subject, ClientID: claims.ClientID,
		KeyID: in.token.header.KeyID, Audiences: claims.Audiences, IssuedAt: claims.IssuedAt,
	}
	if _, revoked := in.issuer.Revocations.Match(&facts); revoked {
		return Revoked
	}
	return Allowed
}
