package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SessionPolicy lets the issuer mint tokens itself: an access token of minutes
// and a refresh token of days for everybody who logs in.
//
// +kubebuilder:validation:XValidation:rule="duration(self.idleLifetime) >= duration(self.accessLifetime)",message="sessions.idleLifetime must be at least sessions.accessLifetime, or sessions would end while they are in use"
// +kubebuilder:validation:XValidation:rule="duration(self.idleLifetime) <= duration(self.absoluteLifetime)",message="sessions.idleLifetime must be at most sessions.absoluteLifetime"
type SessionPolicy struct {
	// How people and workloads log in. At least one way.
	// +required
	Login LoginSources `json:"login"`

	// How long an access token lives. Whoever verifies it without asking the
	// webhook learns of a logout only when it expires. 10s to 24h, and at most
	// tokens.maxLifetime. Default: 10m.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="sessions.accessLifetime must be from 10s to 24h"
	AccessLifetime metav1.Duration `json:"accessLifetime,omitzero"`

	// How long a session lives without a refresh. At least accessLifetime, 20s
	// to 8760h (a year). Default: 72h, which covers a weekend.
	// +optional
	// +kubebuilder:default="72h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('20s') && duration(self) <= duration('8760h')",message="sessions.idleLifetime must be from 20s to 8760h"
	IdleLifetime metav1.Duration `json:"idleLifetime,omitzero"`

	// How long a session lives however often it is refreshed: what a thief has
	// at most who is never noticed. Lowering it also shortens the sessions that
	// there are; raising it lengthens only new ones. 20s to 8760h (a year).
	// Default: 336h (two weeks).
	// +optional
	// +kubebuilder:default="336h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('20s') && duration(self) <= duration('8760h')",message="sessions.absoluteLifetime must be from 20s to 8760h"
	AbsoluteLifetime metav1.Duration `json:"absoluteLifetime,omitzero"`

	// For how long after a refresh the same refresh token is answered once more
	// with the same successor, so that a lost answer logs nobody out. Later it is
	// taken for theft, and the session ends. It is never extended. 0s to 1m; 0s
	// switches it off. Default: 10s.
	// +optional
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1m')",message="sessions.graceWindow must be from 0s to 1m"
	GraceWindow metav1.Duration `json:"graceWindow,omitzero"`

	// What happens to a session whose client has a newer refresh token than the
	// store knows of, because the store was set back to an earlier state:
	// MoveForward (go on from the client's token, which nobody but Keyturn can
	// have made) or EndSession. It is called theft in neither case. Default:
	// MoveForward.
	// +optional
	// +kubebuilder:default=MoveForward
	AfterRollback RollbackPolicy `json:"afterRollback,omitempty"`

	// How many live sessions a subject may have. One login more ends the oldest.
	// 1 to 100. Default: 10.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxPerSubject int32 `json:"maxPerSubject,omitempty"`

	// The applications that a login may ask access tokens for (RFC 8707). 1 to
	// 32 values. Default: the audiences of the TokenIssuer.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	Audiences []string `json:"audiences,omitempty"`

	// The scopes that a login may ask for (RFC 6749 section 3.3). At most 64.
	// Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
	// +listType=set
	Scopes []string `json:"scopes,omitempty"`

	// Which claims access tokens carry beside those of RFC 9068.
	// +optional
	Claims ClaimPolicy `json:"claims,omitzero"`

	// The cookie that holds the refresh token of a browser. It is always
	// HttpOnly and Secure, sent to the paths below the issuer's /session only,
	// and lives as long as the token in it.
	// +optional
	// +kubebuilder:default={}
	Cookie CookiePolicy `json:"cookie,omitzero"`

	// The origins, beside the issuer's own, whose pages may log in and refresh
	// with the cookie: https, or http for localhost and 127.0.0.1. They must be
	// of the same site as the issuer, or browsers send no cookie. At most 32.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?|http://(localhost|127\.0\.0\.1))(:[0-9]{1,5})?$`
	// +listType=set
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`

	// How many requests a minute are answered; more get the status 429. Each
	// replica counts for itself.
	// +optional
	// +kubebuilder:default={}
	RateLimits RateLimits `json:"rateLimits,omitzero"`
}

// RollbackPolicy says what happens to a session of which the store has
// forgotten refreshes.
//
// +kubebuilder:validation:Enum=MoveForward;EndSession
type RollbackPolicy string

// The rollback policies.
const (
	// RollbackMoveForward goes on from the client's refresh token.
	RollbackMoveForward RollbackPolicy = "MoveForward"
	// RollbackEndSession ends the session.
	RollbackEndSession RollbackPolicy = "EndSession"
)

// ClaimPolicy says which claims access tokens carry beside those of RFC 9068.
//
// +kubebuilder:validation:XValidation:rule="!has(self.fixed) || !has(self.fromLogin) || self.fixed.all(f, !(f.name in self.fromLogin))",message="a claim is either in claims.fixed or in claims.fromLogin"
type ClaimPolicy struct {
	// Claims with the same value in every token. At most 32.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Fixed []FixedClaim `json:"fixed,omitempty"`

	// The names of claims that are taken over from the login, as far as it has
	// them: from what a workload sends, or from what upstreams[].claims maps. At
	// most 32. Anybody who has a token can read them.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	FromLogin []ClaimName `json:"fromLogin,omitempty"`
}

// ClaimName is the name of a claim that Keyturn does not set itself, of 1 to
// 128 characters.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="!(self in ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'azp', 'sid', 'scope', 'scp', 'typ', 'at_hash', 'c_hash', 'events', 'cnf', 'act', 'may_act'])",message="claims that say what a token is, such as iss, sub, aud, exp, sid or scope, are set by Keyturn alone"
type ClaimName string

// FixedClaim is a claim with the same value in every token: one string, or a
// list of strings.
//
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.values)",message="set exactly one of value (a string) and values (a list of strings)"
type FixedClaim struct {
	// The name of the claim.
	// +required
	Name ClaimName `json:"name"`
	// The value, as a string of at most 1024 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Value *string `json:"value,omitempty"`
	// The value, as a list of 1 to 64 strings of at most 256 characters.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	Values []string `json:"values,omitempty"`
}

// CookiePolicy is what can be chosen about the cookie with the refresh token.
type CookiePolicy struct {
	// The name of the cookie. It must begin with __Secure-, so that browsers
	// take it only over https. Default: __Secure-keyturn.
	// +optional
	// +kubebuilder:default=__Secure-keyturn
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^__Secure-[A-Za-z0-9._-]+$`
	Name string `json:"name,omitempty"`

	// Strict, or Lax for an application that is entered by links from other
	// sites and must be logged in on its very first page. Default: Strict.
	// +optional
	// +kubebuilder:default=Strict
	SameSite SameSite `json:"sameSite,omitempty"`
}

// SameSite is the attribute of a cookie that keeps it from requests of other
// sites. None is not offered.
//
// +kubebuilder:validation:Enum=Strict;Lax
type SameSite string

// The values of SameSite.
const (
	SameSiteStrict SameSite = "Strict"
	SameSiteLax    SameSite = "Lax"
)

// RateLimits are the numbers of requests that are answered in a minute.
type RateLimits struct {
	// Logins from one client address. 1 to 100000. Default: 30.
	// +optional
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	LoginPerAddress int32 `json:"loginPerAddress,omitempty"`

	// Logins with one user name, from wherever. 1 to 100000. Default: 10.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	LoginPerUser int32 `json:"loginPerUser,omitempty"`

	// Refreshes of one session. 1 to 100000. Default: 30.
	// +optional
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	RefreshPerSession int32 `json:"refreshPerSession,omitempty"`
}
