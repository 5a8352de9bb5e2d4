package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenIssuer is one issuer of JWTs: the URL that its tokens carry as "iss",
// the keys that sign them, and what a good token of it looks like. With
// spec.signing the operator creates the keys, rotates them, publishes their
// public halves and hands the active one to workloads in a Secret. With
// spec.external somebody else signs, and tokens are verified and revoked
// only.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ti,categories=keyturn
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether tokens can be signed and verified"
// +kubebuilder:printcolumn:name="Algorithm",type=string,JSONPath=`.spec.signing.algorithm`,description="The algorithm that tokens are signed with"
// +kubebuilder:printcolumn:name="Active-Key",type=string,JSONPath=`.status.activeKeyID`,description="The id (kid) of the key that signs"
// +kubebuilder:printcolumn:name="Next-Rotation",type=string,JSONPath=`.status.nextRotation`,description="When the next key takes over"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Issuer URL",type=string,priority=1,JSONPath=`.spec.issuerURL`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.signing) || !has(self.spec.signing.secret.name) || !(self.spec.signing.secret.name in [self.metadata.name + '-keyring', self.metadata.name + '-refresh-keys'])",message="signing.secret.name must not be the name of the TokenIssuer + -keyring or -refresh-keys: those Secrets hold the keys themselves"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a TokenIssuer must be no more than 63 characters, because it becomes a label value"
type TokenIssuer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the issuer is and how its keys live.
	// +required
	Spec TokenIssuerSpec `json:"spec"`

	// What the operator has observed and done.
	// +optional
	Status TokenIssuerStatus `json:"status,omitzero"`
}

// TokenIssuerList is a list of TokenIssuers.
//
// +kubebuilder:object:root=true
type TokenIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenIssuer `json:"items"`
}

// TokenIssuerSpec says what the issuer is and how its keys live.
//
// +kubebuilder:validation:XValidation:rule="has(self.signing) != has(self.external)",message="set exactly one of signing (the operator holds the keys) and external (somebody else does)"
// +kubebuilder:validation:XValidation:rule="has(self.signing) == has(oldSelf.signing)",message="signing cannot be exchanged for external or back: create another TokenIssuer"
// +kubebuilder:validation:XValidation:rule="!has(self.signing) || !self.issuerURL.endsWith('/')",message="issuerURL must not end with a slash when signing is set, because paths are appended to it"
// +kubebuilder:validation:XValidation:rule="!has(self.signing) || !self.issuerURL.matches('^https://[^/]+/(verify|verify-for|tokenreview|issuers)(/|$)')",message="the path of issuerURL must not begin with /verify, /verify-for, /tokenreview or /issuers, which the service itself answers"
// +kubebuilder:validation:XValidation:rule="!has(self.signing) || self.issuerURL.matches('^https://[^/]+(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$')",message="the path of issuerURL must be plain when signing is set: segments of letters, digits, '-', '_', '~' and '.', so that every client spells it the same"
// +kubebuilder:validation:XValidation:rule="!has(self.signing) || (self.issuerURL.matches('^https://([a-z0-9_-]+([.][a-z0-9_-]+)*|[[][0-9a-f:.]+[]])(:[0-9]+)?(/|$)') && !self.issuerURL.matches('^https://[^/]*:0*443(/|$)'))",message="the host of issuerURL must be plain when signing is set: letters, digits, '-', '_' and '.', no dot at its end, and no port 443, so that every client spells it the same"
// +kubebuilder:validation:XValidation:rule="!has(self.signing) || duration(self.signing.rotation.period) >= duration(self.jwks.maxAge) + duration(self.tokens.clockSkew) + duration(self.signing.secret.propagationDelay)",message="signing.rotation.period must be at least jwks.maxAge + tokens.clockSkew + signing.secret.propagationDelay: a new key may sign only when every verifier can know it, and the old one is in use until every workload has the new one"
// +kubebuilder:validation:XValidation:rule="!has(self.signing) || (has(self.tokens.maxLifetime) ? duration(self.tokens.maxLifetime) : duration('15m')).getMilliseconds() <= 20 * duration(self.signing.rotation.period).getMilliseconds()",message="tokens.maxLifetime (15m when left out) must be at most 20 times signing.rotation.period, or too many retiring keys would fill the JWKS"
// +kubebuilder:validation:XValidation:rule="!has(self.sessions) || has(self.signing)",message="sessions need signing: tokens of an external issuer are minted by somebody else"
// +kubebuilder:validation:XValidation:rule="!has(self.sessions) || duration(self.sessions.accessLifetime) <= (has(self.tokens.maxLifetime) ? duration(self.tokens.maxLifetime) : duration('15m'))",message="sessions.accessLifetime must be at most tokens.maxLifetime (15m when left out), or every access token would be refused"
type TokenIssuerSpec struct {
	// The value of the claim "iss" (RFC 7519 section 4.1.1) and the base of the
	// discovery document and the JWKS: an https URL without query and fragment
	// (OpenID Connect Discovery 1.0 section 3), such as
	// https://tokens.example.com/shop. Immutable. Of two TokenIssuers with the
	// same URL the older keeps it.
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != ''",message="issuerURL must be an absolute https URL, such as https://tokens.example.com/shop"
	// +kubebuilder:validation:XValidation:rule="!self.contains('?') && !self.contains('#')",message="issuerURL must have no query and no fragment (OpenID Connect Discovery 1.0 section 3)"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[^/]*@')",message="issuerURL must have no user name or password in it"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^A-Z]*$') || self.matches('^https://[^/A-Z]+(/|$)')",message="the host of issuerURL must be in lower case, so that every client spells it the same"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="issuerURL is immutable, because every token carries it: create another TokenIssuer"
	IssuerURL string `json:"issuerURL"`

	// The applications that accept tokens of this issuer. A token passes
	// verification when its claim "aud" (RFC 7519 section 4.1.3) holds at least
	// one of them; a verification request can ask for another instead. 1 to 32
	// values.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	Audiences []string `json:"audiences"`

	// The operator holds the keys: it creates, rotates and publishes them. An
	// empty object means all defaults.
	// +optional
	Signing *Signing `json:"signing,omitempty"`

	// Somebody else holds the keys, such as Keycloak, Entra, Google or a
	// cluster. The operator fetches the public ones, verifies tokens with them
	// and enforces revocations; it never mints.
	// +optional
	External *External `json:"external,omitempty"`

	// What a good access token of this issuer looks like, beside its audience.
	// +optional
	// +kubebuilder:default={}
	Tokens TokenPolicy `json:"tokens,omitzero"`

	// How the public keys are published. Not used with external.
	// +optional
	// +kubebuilder:default={}
	JWKS JWKSPolicy `json:"jwks,omitzero"`

	// Lets people and workloads log in: the issuer mints access tokens and
	// refresh tokens. Without it Keyturn mints nothing. Only with signing. The
	// keys for refresh tokens are in the Secret <name>-refresh-keys, which stays
	// when sessions are taken out of the spec, so that putting them back logs
	// nobody out.
	// +optional
	Sessions *SessionPolicy `json:"sessions,omitempty"`
}

// Algorithm is a JWS algorithm (RFC 7518 section 3.1, RFC 8037).
//
// +kubebuilder:validation:Enum=ES256;ES384;ES512;EdDSA;RS256;RS384;RS512;PS256;PS384;PS512;HS256;HS384;HS512
type Algorithm string

// DeletionPolicy says what becomes of an issuer's objects when the
// TokenIssuer is deleted.
//
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

// The deletion policies.
const (
	// DeletionDelete deletes the ring, the mounted Secret, the ConfigMap and the
	// keys for refresh tokens together with the TokenIssuer.
	DeletionDelete DeletionPolicy = "Delete"
	// DeletionRetain keeps them; a TokenIssuer of the same name created later
	// goes on with them.
	DeletionRetain DeletionPolicy = "Retain"
)

// Signing says how the operator's own keys live.
//
// +kubebuilder:validation:XValidation:rule="!has(self.keySize) || self.algorithm.startsWith('RS') || self.algorithm.startsWith('PS')",message="keySize is for RS and PS algorithms only: the size of every other key follows from its algorithm"
type Signing struct {
	// The algorithm that tokens are signed with. Changing it rotates the key
	// through the same gates as any rotation, so no good token turns bad. HS
	// algorithms share one secret between signers and verifiers: it is never
	// published, and verifiers that do not mount it must ask the webhook.
	// Default: ES256.
	// +optional
	// +kubebuilder:default=ES256
	Algorithm Algorithm `json:"algorithm,omitempty"`

	// The size of an RSA key in bits: 2048, 3072 or 4096. Default: 2048.
	// Changing it rotates the key.
	// +optional
	// +kubebuilder:validation:Enum=2048;3072;4096
	KeySize *int32 `json:"keySize,omitempty"`

	// When the key is exchanged for the next one.
	// +optional
	// +kubebuilder:default={}
	Rotation RotationPolicy `json:"rotation,omitzero"`

	// The Secret that workloads mount to sign tokens themselves.
	// +optional
	// +kubebuilder:default={}
	Secret SigningSecret `json:"secret,omitzero"`

	// What becomes of the ring, the mounted Secret, the ConfigMap and the keys
	// for refresh tokens when the TokenIssuer is deleted: Delete, or Retain to
	// let a TokenIssuer of the same name created later go on with them. Default:
	// Delete.
	// +optional
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// RotationPolicy says when the key is exchanged for the next one.
type RotationPolicy struct {
	// How long a key signs before the next one takes over, as a duration such as
	// 720h. At least jwks.maxAge + tokens.clockSkew +
	// signing.secret.propagationDelay, and at most 87600h (ten years). Default:
	// 720h (30 days). A rotation out of turn is asked for with the annotation
	// keyturn.dev/rotate-requested-at.
	// +optional
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('87600h')",message="signing.rotation.period must be from 1s to 87600h"
	Period metav1.Duration `json:"period,omitzero"`
}

// SigningSecret is the Secret that workloads mount to sign tokens
// themselves. It has the type keyturn.dev/signing-key and the files key.pem
// (PKCS#8; not for HS algorithms), key.jwk, key.bin (HS algorithms only),
// kid, alg, issuer and max-lifetime (seconds).
//
// +kubebuilder:validation:XValidation:rule="has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",message="signing.secret.name is immutable, because pods mount it: create another TokenIssuer"
type SigningSecret struct {
	// Whether the active private key is exported to a Secret at all. Switching
	// it off deletes the Secret; pods that have mounted it keep the key they
	// have until they restart. Default: true.
	// +optional
	// +kubebuilder:default=true
	Export *bool `json:"export,omitempty"`

	// The name of the Secret. Immutable. Default: the name of the TokenIssuer +
	// "-signing-key".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="signing.secret.name must be the name of a Secret: lower-case letters, digits, '-' and '.'"
	Name string `json:"name,omitempty"`

	// How long a changed Secret takes to reach the files of every pod, at most.
	// A retired key stays in the JWKS for this long and a token's lifetime more.
	// 0s to 24h. Default: 2m, which covers the kubelet's default sync of one
	// minute.
	// +optional
	// +kubebuilder:default="2m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="signing.secret.propagationDelay must be from 0s to 24h"
	PropagationDelay metav1.Duration `json:"propagationDelay,omitzero"`

	// Labels and annotations for the Secret, for example what a reloader looks
	// for. Nothing is copied from the TokenIssuer itself.
	// +optional
	Template SecretTemplate `json:"template,omitzero"`
}

// SecretTemplate is the metadata that the mounted Secret carries beside the
// operator's own.
type SecretTemplate struct {
	// Labels of the Secret. Keys under keyturn.dev/ are reserved. At most 16.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.matches('^([^/]*[.])?keyturn[.]dev/'))",message="label keys under keyturn.dev/ are reserved for the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !format.qualifiedName().validate(k).hasValue() && !format.labelValue().validate(self[k]).hasValue())",message="labels must have valid label keys and values (at most 63 letters, digits, '-', '_' and '.')"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// Annotations of the Secret. Keys under keyturn.dev/ are reserved. At most
	// 16, each at most 4096 characters.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.matches('^([^/]*[.])?keyturn[.]dev/'))",message="annotation keys under keyturn.dev/ are reserved for the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !format.qualifiedName().validate(k.lowerAscii()).hasValue())",message="annotations must have valid annotation keys"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label, of at most 63 characters.
//
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation, of at most 4096 characters.
//
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// JWKSPolicy says how the public keys are published.
type JWKSPolicy struct {
	// How long a verifier may cache the JWKS, sent as Cache-Control: max-age
	// (RFC 9111 section 5.2.2.1). A new key signs only after it has been
	// published for this long and tokens.clockSkew. 1s to 24h. Default: 10m.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="jwks.maxAge must be from 1s to 24h"
	MaxAge metav1.Duration `json:"maxAge,omitzero"`
}

// TokenPolicy says what a good access token of the issuer looks like.
type TokenPolicy struct {
	// The longest lifetime (exp - iat) of a token. A token that claims more is
	// refused. Shortening it never shortens what a key that has signed under the
	// longer one was promised. 10s to 24h. Default: 15m with signing, 24h with
	// external.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="tokens.maxLifetime must be from 10s to 24h: an access token cannot be longer-lived than a day"
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitempty"`

	// How far the clocks of signers and verifiers may differ; the leeway for
	// exp, nbf and iat (RFC 7519 section 4.1). 0s to 5m. Default: 30s.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('5m')",message="tokens.clockSkew must be from 0s to 5m"
	ClockSkew metav1.Duration `json:"clockSkew,omitzero"`

	// The values of the header "typ" (RFC 7515 section 4.1.9) that an access
	// token may have, compared without regard to case; "application/" in front
	// is ignored. An empty string stands for a token without "typ". At most 8.
	// Default: at+jwt (RFC 9068 section 2.1) with signing; at+jwt, JWT and none
	// at all with external. Widen it only for tokens of an issuer that issues
	// nothing but access tokens, or an ID token could pass as one.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	Types []string `json:"types,omitempty"`

	// The scopes that a token must carry, all of them, in the claim "scope" or
	// "scp", when a verification request names none. At most 32.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
	// +listType=set
	RequiredScopes []string `json:"requiredScopes,omitempty"`

	// The claim that holds the groups of the user in a TokenReview: a list of
	// strings, or one string. Each comes out with the issuer URL and "#" in
	// front. Default: groups.
	// +optional
	// +kubebuilder:default=groups
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	GroupsClaim string `json:"groupsClaim,omitempty"`
}

// External says where the public keys of somebody else's issuer are found.
// Without jwksURL and fromCluster they come from OpenID Connect Discovery at
// issuerURL.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.jwksURL) && has(self.fromCluster) && self.fromCluster)",message="set at most one of jwksURL and fromCluster; without either, the keys come from discovery at issuerURL"
type External struct {
	// The URL of the JWK Set, when the issuer has no discovery document. https
	// only.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != ''",message="external.jwksURL must be an absolute https URL"
	// +kubebuilder:validation:XValidation:rule="!self.contains('#') && !self.matches('^[A-Za-z]+://[^/?]*@')",message="external.jwksURL must have no fragment and no user name or password in it"
	JWKSURL string `json:"jwksURL,omitempty"`

	// The keys are those of this cluster's own ServiceAccount issuer, read over
	// the operator's connection to the API server. Default: false.
	// +optional
	FromCluster bool `json:"fromCluster,omitempty"`

	// The certificate authorities, in PEM, that the server's certificate must
	// chain to, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="external.caBundle must hold at least one certificate in PEM"
	CABundle string `json:"caBundle,omitempty"`

	// The algorithms that the issuer signs with, asymmetric ones only. A key
	// that names its own algorithm verifies only that. Default: ES256, ES384,
	// ES512, EdDSA, RS256, PS256.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:XValidation:rule="self.all(a, !a.startsWith('HS'))",message="external.algorithms must be asymmetric: a public key must never verify an HMAC"
	// +listType=set
	Algorithms []Algorithm `json:"algorithms,omitempty"`

	// How often the keys are fetched anew. An unknown key id fetches them at
	// once, at most every second. 1m to 24h. Default: 10m.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="external.refreshInterval must be from 1m to 24h"
	RefreshInterval metav1.Duration `json:"refreshInterval,omitzero"`

	// How long the last good keys go on verifying when they cannot be fetched.
	// 1m to 168h. Default: 24h.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('168h')",message="external.maxStaleness must be from 1m to 168h"
	MaxStaleness metav1.Duration `json:"maxStaleness,omitzero"`
}
