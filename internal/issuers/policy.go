package issuers

import (
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/session"
)

// Defaults of tokens.maxLifetime, which depend on who signs and so cannot stand in the schema.
const (
	defaultMaxLifetime         = 15 * time.Minute
	defaultExternalMaxLifetime = 24 * time.Hour
)

// SigningPolicy is what the spec of an issuer with signing asks of its ring. Revoked key ids are the caller's to add.
func SigningPolicy(issuer *v1alpha1.TokenIssuer) keyring.Policy {
	spec := &issuer.Spec
	policy := keyring.Policy{
		Algorithm:        jose.SignatureAlgorithm(spec.Signing.Algorithm),
		Period:           spec.Signing.Rotation.Period.Duration,
		MaxAge:           spec.JWKS.MaxAge.Duration,
		ClockSkew:        spec.Tokens.ClockSkew.Duration,
		MaxLifetime:      MaxLifetime(issuer),
		PropagationDelay: spec.Signing.Secret.PropagationDelay.Duration,
		Export:           spec.Signing.Secret.Export == nil || *spec.Signing.Secret.Export,
		RotateRequest:    issuer.Annotations[v1alpha1.AnnotationRotateRequestedAt],
	}
	if size := spec.Signing.KeySize; size != nil {
		policy.KeySize = int(*size)
	}
	return policy
}

// SessionPolicy is what the spec of an issuer with sessions asks of them.
func SessionPolicy(issuer *v1alpha1.TokenIssuer) session.Policy {
	spec := issuer.Spec.Sessions
	policy := session.Policy{
		AccessLifetime:   spec.AccessLifetime.Duration,
		IdleLifetime:     spec.IdleLifetime.Duration,
		AbsoluteLifetime: spec.AbsoluteLifetime.Duration,
		GraceWindow:      spec.GraceWindow.Duration,
		ClockError:       session.DefaultClockError,
		EndAfterRollback: spec.AfterRollback == v1alpha1.RollbackEndSession,
		MaxPerSubject:    int(spec.MaxPerSubject),
		Audiences:        spec.Audiences,
		Scopes:           spec.Scopes,
	}
	if len(policy.Audiences) == 0 {
		policy.Audiences = issuer.Spec.Audiences
	}
	return policy
}

// RefreshKeyPolicy is what the spec of an issuer with sessions asks of the keys for refresh tokens. Revoked key ids are the
// caller's to add.
func RefreshKeyPolicy(issuer *v1alpha1.TokenIssuer) session.KeyPolicy {
	return session.KeyPolicy{
		ClockSkew:        issuer.Spec.Tokens.ClockSkew.Duration,
		AbsoluteLifetime: issuer.Spec.Sessions.AbsoluteLifetime.Duration,
	}
}

// MaxLifetime is the longest lifetime that the spec allows a token.
func MaxLifetime(issuer *v1alpha1.TokenIssuer) time.Duration {
	switch {
	case issuer.Spec.Tokens.MaxLifetime != nil:
		return issuer.Spec.Tokens.MaxLifetime.Duration
	case issuer.Spec.External != nil:
		return defaultExternalMaxLifetime
	default:
		return defaultMaxLifetime
	}
}

// tokenTypes are the values of "typ" that the spec allows, as token.Issuer wants them.
func tokenTypes(issuer *v1alpha1.TokenIssuer) []string {
	if len(issuer.Spec.Tokens.Types) == 0 {
		if issuer.Spec.External != nil {
			return []string{"at+jwt", "jwt", ""}
		}
		return []string{"at+jwt"}
	}
	types := make([]string, len(issuer.Spec.Tokens.Types))
	for i, name := range issuer.Spec.Tokens.Types {
		types[i] = strings.TrimPrefix(strings.ToLower(name), "application/")
	}
	return types
}
