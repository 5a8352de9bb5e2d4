package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenRevocation denies tokens of one issuer before they expire. Every
// matching revocation denies; none cancels another. Once the last token that
// it can hit has expired, it deletes itself. Deleting it earlier lifts it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=trev,categories=keyturn
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.status.target`,description="What is denied"
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`,description="Whether every live replica denies it"
// +kubebuilder:printcolumn:name="Replicas",type=string,JSONPath=`.status.replicas`,description="How many of the live replicas denied it when Enforced last changed"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`,description="When the last token that it can hit has expired"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Enforced")].message`
type TokenRevocation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which tokens are denied.
	// +required
	Spec TokenRevocationSpec `json:"spec"`

	// Whether they are.
	// +optional
	Status TokenRevocationStatus `json:"status,omitzero"`
}

// TokenRevocationList is a list of TokenRevocations.
//
// +kubebuilder:object:root=true
type TokenRevocationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenRevocation `json:"items"`
}

// TokenRevocationSpec names the tokens to deny: exactly one of tokenID,
// sessionID, subject, clientID, audience, keyID and all.
//
// +kubebuilder:validation:XValidation:rule="[has(self.tokenID), has(self.sessionID), has(self.subject), has(self.clientID), has(self.audience), has(self.keyID), has(self.all)].filter(x, x).size() == 1",message="set exactly one of tokenID, sessionID, subject, clientID, audience, keyID and all"
// +kubebuilder:validation:XValidation:rule="!has(self.issuedBefore) || has(self.subject) || has(self.clientID) || has(self.audience) || has(self.all)",message="issuedBefore goes with subject, clientID, audience or all: a token id, a session id and a key id are denied whenever they were issued"
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef && (has(self.tokenID) ? has(oldSelf.tokenID) && self.tokenID == oldSelf.tokenID : !has(oldSelf.tokenID)) && (has(self.sessionID) ? has(oldSelf.sessionID) && self.sessionID == oldSelf.sessionID : !has(oldSelf.sessionID)) && (has(self.subject) ? has(oldSelf.subject) && self.subject == oldSelf.subject : !has(oldSelf.subject)) && (has(self.clientID) ? has(oldSelf.clientID) && self.clientID == oldSelf.clientID : !has(oldSelf.clientID)) && (has(self.audience) ? has(oldSelf.audience) && self.audience == oldSelf.audience : !has(oldSelf.audience)) && (has(self.keyID) ? has(oldSelf.keyID) && self.keyID == oldSelf.keyID : !has(oldSelf.keyID)) && (has(self.all) ? has(oldSelf.all) && self.all == oldSelf.all : !has(oldSelf.all)) && (has(self.issuedBefore) ? has(oldSelf.issuedBefore) && self.issuedBefore == oldSelf.issuedBefore : !has(oldSelf.issuedBefore))",message="what a TokenRevocation denies is immutable: create another one"
type TokenRevocationSpec struct {
	// The TokenIssuer whose tokens are denied.
	// +required
	IssuerRef IssuerReference `json:"issuerRef"`

	// Denies the one token with this claim "jti" (RFC 7519 section 4.1.7).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	TokenID string `json:"tokenID,omitempty"`

	// Denies every token with this claim "sid".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	SessionID string `json:"sessionID,omitempty"`

	// Denies the tokens with this claim "sub" that were issued before
	// issuedBefore.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Subject string `json:"subject,omitempty"`

	// Denies the tokens with this claim "client_id" (RFC 9068 section 2.2), or
	// "azp" where there is none, that were issued before issuedBefore.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ClientID string `json:"clientID,omitempty"`

	// Denies the tokens with this value in the claim "aud" that were issued
	// before issuedBefore.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Audience string `json:"audience,omitempty"`

	// Denies every token that the key with this id (kid) signed or will sign,
	// drops the key from the JWKS at once, and rotates: also when it is the
	// active key. The id of a key for refresh tokens, as the TokenIssuer has it
	// in status.refreshKeys, drops that key: every session that it has opened
	// must log in again, and their access tokens are good until they expire.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	KeyID string `json:"keyID,omitempty"`

	// Denies every token that was issued before issuedBefore. Only the value
	// true is allowed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self",message="all must be true, or left out"
	All *bool `json:"all,omitempty"`

	// Tokens issued (claim "iat") at this moment or later are good; earlier ones
	// are denied. With subject, clientID, audience and all. Default: the moment
	// of creation, to the second, as the API server records it.
	// +optional
	IssuedBefore *metav1.Time `json:"issuedBefore,omitempty"`

	// Why, for people who read it later. At most 256 characters. Never put a
	// token here.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`

	// Keeps the object when the last token that it can hit has expired, instead
	// of deleting it. Default: false.
	// +optional
	RetainAfterExpiry bool `json:"retainAfterExpiry,omitempty"`
}

// IssuerReference names a TokenIssuer in the same namespace.
type IssuerReference struct {
	// The name of the TokenIssuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// TokenRevocationStatus says whether the revocation is enforced.
type TokenRevocationStatus struct {
	// The generation of the spec that the rest of the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Accepted says that the revocation can be acted on; Enforced that every
	// live replica of the operator denies what it names. A replica counts while
	// its Lease in the operator's namespace is renewed, for 20 seconds at most
	// after it was heard of last.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// How many of the live replicas deny it, and how many there are, such as
	// 2/2. It is counted while Enforced is False, and kept from when it turned
	// True: a replica that starts later has read every revocation before it
	// lets a token pass.
	// +optional
	Replicas string `json:"replicas,omitempty"`

	// What is denied, in one line.
	// +optional
	Target string `json:"target,omitempty"`

	// When the last token that it can hit has expired. Absent for a key id of an
	// external issuer, which could sign again at any time: such a revocation
	// stays until it is deleted.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}
