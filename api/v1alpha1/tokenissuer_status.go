package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenIssuerStatus is what the operator has observed and done. It is
// derived: nothing is lost when it is wiped.
type TokenIssuerStatus struct {
	// The generation of the spec that the rest of the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Accepted and Ready are always present; RotationOverdue, SecretConflict and
	// KeysLost only while they are true.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// The id (kid, the RFC 7638 thumbprint) of the key that signs.
	// +optional
	ActiveKeyID string `json:"activeKeyID,omitempty"`

	// Every key of the ring, or every key that an external issuer publishes.
	// +optional
	// +listType=map
	// +listMapKey=id
	Keys []KeyStatus `json:"keys,omitempty"`

	// Every key for refresh tokens, of an issuer with sessions. The last one that
	// is usable opens sessions; the ones before it serve those that they have
	// opened.
	// +optional
	// +listType=map
	// +listMapKey=id
	RefreshKeys []RefreshKeyStatus `json:"refreshKeys,omitempty"`

	// When the next key takes over, if nothing asks for it earlier.
	// +optional
	NextRotation *metav1.Time `json:"nextRotation,omitempty"`

	// When the active key took over.
	// +optional
	LastRotation *metav1.Time `json:"lastRotation,omitempty"`

	// The value of the annotation keyturn.dev/rotate-requested-at that was last
	// answered with a rotation.
	// +optional
	HandledRotateRequest string `json:"handledRotateRequest,omitempty"`

	// Where verifiers find the public keys.
	// +optional
	JWKSURL string `json:"jwksURL,omitempty"`

	// When the keys of an external issuer were last fetched, to the minute.
	// +optional
	LastFetch *metav1.Time `json:"lastFetch,omitempty"`
}

// KeyState is where a key is in its life.
//
// +kubebuilder:validation:Enum=Next;Active;Retiring;External
type KeyState string

// KeyStatus is one key of the ring, without anything secret.
type KeyStatus struct {
	// The id of the key (kid, the RFC 7638 thumbprint).
	// +required
	ID string `json:"id"`
	// The algorithm of the key.
	// +optional
	Algorithm Algorithm `json:"algorithm,omitempty"`
	// Next: published, does not sign yet. Active: signs. Retiring: verifies
	// until its last token has expired. External: somebody else's.
	// +required
	State KeyState `json:"state"`
	// When the JWKS that holds the key was really written.
	// +optional
	PublishedAt *metav1.Time `json:"publishedAt,omitempty"`
	// When the key began to sign.
	// +optional
	ActivatedAt *metav1.Time `json:"activatedAt,omitempty"`
	// When the key leaves the JWKS, because the last token that it can have
	// signed has expired.
	// +optional
	RemoveAfter *metav1.Time `json:"removeAfter,omitempty"`
	// Why the key began to sign before it had been published for long enough, if
	// it did.
	// +optional
	Exception string `json:"exception,omitempty"`
}

// RefreshKeyStatus is one key for refresh tokens, without anything secret.
type RefreshKeyStatus struct {
	// The id of the key, of eight hexadecimal digits: what a TokenRevocation
	// names in keyID to drop the key and log out all that it has logged in.
	// +required
	ID string `json:"id"`
	// When the key begins to open sessions: once every replica knows it.
	// +optional
	UsableFrom *metav1.Time `json:"usableFrom,omitempty"`
	// When the key is removed, because the last session that it can have opened
	// has expired. Absent while it can open more.
	// +optional
	RemoveAfter *metav1.Time `json:"removeAfter,omitempty"`
}
