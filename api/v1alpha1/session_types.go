package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Session is one login at a TokenIssuer with spec.sessions. Keyturn makes it,
// counts its refreshes and deletes it once it is over; deleting it earlier
// logs out. Its name is the id of the session, the claim "sid" of its access
// tokens.
//
// Nothing in it is secret: whoever reads it can neither make a refresh token
// nor guess one, because that takes the issuer's key too. Whoever writes it
// can do no more than end it: refresh tokens vouch for the whole spec, so an
// edited copy is worth nothing, and one that is created by hand has no tokens.
// Only a copy of a real one, created again after it was deleted or set back to
// fewer refreshes, gives its old tokens a session again: treat the right to
// create and delete Sessions as the right to undo a logout.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=keyturn
// +kubebuilder:printcolumn:name="Subject",type=string,JSONPath=`.spec.subject`,description="Who logged in"
// +kubebuilder:printcolumn:name="Client",type=string,JSONPath=`.spec.clientID`,description="The application"
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Last-Refresh",type=date,JSONPath=`.state.rotatedAt`,description="How long ago the refresh token was exchanged"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`,description="When the session ends however often it is refreshed"
// +kubebuilder:printcolumn:name="Ended",type=string,JSONPath=`.state.endReason`,description="Why the session was ended, if it was"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Idle-Until",type=string,priority=1,JSONPath=`.state.idleUntil`,description="When the session ends unless it is refreshed before"
// +kubebuilder:printcolumn:name="Source",type=string,priority=1,JSONPath=`.spec.source`,description="How the subject was authenticated"
// +kubebuilder:printcolumn:name="Refreshes",type=integer,priority=1,JSONPath=`.state.generation`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[0-9a-f]{32}$')",message="the name of a Session must be its id, 32 lower-case hexadecimal digits"
type Session struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What was said at the login. Immutable.
	// +required
	Spec SessionSpec `json:"spec"`

	// What changes in the session: at each refresh, and at the end. It is no
	// status, because it cannot be derived from anything: a backup must hold it.
	// +required
	State SessionState `json:"state"`
}

// SessionList is a list of Sessions.
//
// +kubebuilder:object:root=true
type SessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Session `json:"items"`
}

// SessionSource is how the subject of a session was authenticated.
//
// +kubebuilder:validation:Enum=Workload;Password;Upstream
type SessionSource string

// The sources of sessions.
const (
	// SessionFromWorkload is a workload that authenticated the subject itself.
	SessionFromWorkload SessionSource = "Workload"
	// SessionFromPassword is a user name and a password.
	SessionFromPassword SessionSource = "Password"
	// SessionFromUpstream is an ID token of a trusted issuer.
	SessionFromUpstream SessionSource = "Upstream"
)

// SessionSpec is what was said at the login. The refresh tokens of the session
// vouch for it.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the spec of a Session is immutable, because its refresh tokens vouch for it: log in again"
// +kubebuilder:validation:XValidation:rule="self.expiresAt > self.createdAt",message="expiresAt must be after createdAt"
type SessionSpec struct {
	// The TokenIssuer that the session belongs to.
	// +required
	IssuerRef IssuerReference `json:"issuerRef"`

	// The value of the claim "iss" of the session's access tokens.
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=256
	IssuerURL string `json:"issuerURL"`

	// The value of the claim "sub": who logged in.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Subject string `json:"subject"`

	// The OAuth client that the refresh tokens are bound to (RFC 6749 section
	// 6), the value of the claim "client_id".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ClientID string `json:"clientID"`

	// The scopes that were granted, in alphabetical order. At most 64.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
	// +listType=atomic
	Scopes []string `json:"scopes,omitempty"`

	// The applications that access tokens may be for, in alphabetical order. 1
	// to 32.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	Audiences []string `json:"audiences"`

	// What else the login said, as a JSON object of at most 8192 characters. It
	// is text, because the refresh tokens vouch for each character of it.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Claims string `json:"claims,omitempty"`

	// How the subject was authenticated: Workload (a workload did that itself
	// and may issue), Password, or Upstream (an ID token of a trusted issuer).
	// +required
	Source SessionSource `json:"source"`

	// 16 random bytes in base64url, which make the key of the session's refresh
	// tokens different from that of every other session. Not secret: without the
	// issuer's key nobody can do anything with it.
	// +required
	// +kubebuilder:validation:MaxLength=22
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]{21}[AQgw]$`
	Salt string `json:"salt"`

	// When the login happened.
	// +required
	CreatedAt metav1.Time `json:"createdAt"`

	// When the session ends however often it is refreshed.
	// +required
	ExpiresAt metav1.Time `json:"expiresAt"`
}

// SessionState is what changes in a session. All of it changes in one write.
//
// +kubebuilder:validation:XValidation:rule="self.generation >= oldSelf.generation",message="generation must not go down, or a used refresh token would be good again"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.endedAt) || self == oldSelf",message="an ended session is final: log in again"
// +kubebuilder:validation:XValidation:rule="has(self.endedAt) == has(self.endReason)",message="endedAt and endReason go together"
type SessionState struct {
	// How often the session was refreshed. It is the generation of the one
	// refresh token that the next refresh must present. 0 to 9007199254740991.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Generation int64 `json:"generation"`

	// When the session was last refreshed; before that, when it was opened.
	// +required
	RotatedAt metav1.MicroTime `json:"rotatedAt"`

	// When the session ends unless it is refreshed before.
	// +required
	IdleUntil metav1.MicroTime `json:"idleUntil"`

	// When somebody ended the session. Absent while nobody has; a session that
	// merely expires is ended by nobody.
	// +optional
	EndedAt *metav1.MicroTime `json:"endedAt,omitempty"`

	// Why the session was ended, in one word: Logout, LogoutEverywhere, Reuse (a
	// used refresh token came back), Rollback, Superseded, Revoked or
	// LoginRemoved. Newer versions may have more.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	EndReason string `json:"endReason,omitempty"`
}
