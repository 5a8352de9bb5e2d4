package v1alpha1

import corev1 "k8s.io/api/core/v1"

// Labels and annotations that the operator sets or reads. The whole prefix keyturn.dev/ is reserved: a template in a
// spec cannot set it.
const (
	// LabelComponent marks what the operator owns, with a Component* value. The operator caches only objects with it,
	// and treats an object of an expected name without it as somebody else's.
	LabelComponent = "keyturn.dev/component"
	// LabelIssuer names the TokenIssuer, in the object's own namespace, that an object belongs to.
	LabelIssuer = "keyturn.dev/issuer"
	// AnnotationRingRevision says from which revision of the ring a derived object was rendered.
	AnnotationRingRevision = "keyturn.dev/ring-revision"
	// AnnotationTemplateKeys remembers which labels and annotations of the mounted Secret came from the template in the
	// spec, so that those can be taken away again and nobody else's are.
	AnnotationTemplateKeys = "keyturn.dev/template-keys"
	// AnnotationActiveKey, on the JWKS ConfigMap, is the id of the key that signs.
	AnnotationActiveKey = "keyturn.dev/active-key"
	// AnnotationMaxAge, on the JWKS ConfigMap, is for how long a reader may keep a copy, as a duration.
	AnnotationMaxAge = "keyturn.dev/max-age"
	// AnnotationLongestMaxAge, on the JWKS ConfigMap, bounds the age of copies that were handed out earlier.
	AnnotationLongestMaxAge = "keyturn.dev/longest-max-age"
	// AnnotationRotateRequestedAt, on a TokenIssuer, asks for one rotation each time its value changes. Any value will
	// do; a time is the custom. status.handledRotateRequest echoes it once the rotation has happened.
	AnnotationRotateRequestedAt = "keyturn.dev/rotate-requested-at"
)

// Values of LabelComponent.
const (
	ComponentKeyring    = "keyring"
	ComponentSigningKey = "signing-key"
	ComponentJWKS       = "jwks"
	// ComponentRefreshKeys is the Secret with the keys for refresh tokens.
	ComponentRefreshKeys = "refresh-keys"
	// ComponentServingCertificate is the Secret with the certificate that the operator serves with, and what clients trust.
	ComponentServingCertificate = "serving-cert"
	// ComponentServingAuthorities is the Secret with the keys that sign serving certificates.
	ComponentServingAuthorities = "serving-authorities"
	// ComponentReplica is the Lease of one replica of the operator, in the operator's own namespace.
	ComponentReplica = "replica"
)

// Labels and the finalizer of a Session.
const (
	// LabelSubject is the first half of the SHA-256 of the subject, in hexadecimal, to find the Sessions of a subject by.
	LabelSubject = "keyturn.dev/subject"
	// LabelEnded is why a Session was ended. One that nobody has ended is without it.
	LabelEnded = "keyturn.dev/ended"
	// FinalizerSession keeps a Session that is deleted until its access tokens are denied by a TokenRevocation.
	FinalizerSession = "keyturn.dev/deny-tokens"
)

// Verbs on a TokenIssuer that RBAC grants to workloads, beside those of the API server itself.
const (
	// VerbIssue lets a workload open sessions for any subject.
	VerbIssue = "issue"
	// VerbIntrospect lets a workload ask what a token is worth (RFC 7662).
	VerbIntrospect = "introspect"
)

// Types of the Secrets that the operator writes.
const (
	// SecretTypeKeyring is the type of the ring Secret, which only the operator reads.
	SecretTypeKeyring corev1.SecretType = "keyturn.dev/keyring"
	// SecretTypeSigningKey is the type of the Secret that workloads mount.
	SecretTypeSigningKey corev1.SecretType = "keyturn.dev/signing-key"
	// SecretTypeRefreshKeys is the type of the Secret with the keys for refresh tokens, which only the operator reads.
	SecretTypeRefreshKeys corev1.SecretType = "keyturn.dev/refresh-keys"
	// SecretTypeServingAuthorities is the type of the Secret with the keys that sign serving certificates, which only the
	// operator reads.
	SecretTypeServingAuthorities corev1.SecretType = "keyturn.dev/serving-authorities"
)

// Data keys of the Secrets and the ConfigMap.
const (
	// DataRing holds the ring document in the ring Secret.
	DataRing = "ring.json"
	// DataRefreshKeys holds the document with the keys for refresh tokens.
	DataRefreshKeys = "keys.json"
	// DataJWKS holds the JWK Set (RFC 7517 section 5) in the ConfigMap.
	DataJWKS = "jwks.json"
	// DataKeyPEM holds the private key as PKCS#8 (RFC 5208) in PEM. Absent for HS algorithms.
	DataKeyPEM = "key.pem"
	// DataKeyJWK holds the private or symmetric key as a JWK (RFC 7517).
	DataKeyJWK = "key.jwk"
	// DataKeyBytes holds the bytes of a symmetric key. Absent for all but HS algorithms.
	DataKeyBytes = "key.bin"
	// DataKeyID holds the value for the header "kid".
	DataKeyID = "kid"
	// DataAlgorithm holds the value for the header "alg".
	DataAlgorithm = "alg"
	// DataIssuer holds the value for the claim "iss".
	DataIssuer = "issuer"
	// DataMaxLifetime holds the longest token lifetime (exp - iat) that verifiers accept for this key, in whole seconds.
	DataMaxLifetime = "max-lifetime"
)

// Condition types of a TokenIssuer. The first two are always present; the others only while they are true.
const (
	// ConditionAccepted says that the spec can be acted on and that the issuer URL is this issuer's alone.
	ConditionAccepted = "Accepted"
	// ConditionReady says that tokens can be signed (spec.signing) and verified.
	ConditionReady = "Ready"
	// ConditionRotationOverdue is True while a rotation that should have happened has not.
	ConditionRotationOverdue = "RotationOverdue"
	// ConditionSecretConflict is True while an object that the operator must write, or delete, is somebody else's.
	ConditionSecretConflict = "SecretConflict"
	// ConditionKeysLost is True after the ring Secret vanished, until every token that the lost keys signed has expired.
	ConditionKeysLost = "KeysLost"
)

// Condition types of a TokenRevocation, always present. ConditionAccepted is the third.
const (
	// ConditionEnforced says that every live replica of the operator denies what the revocation names.
	ConditionEnforced = "Enforced"
)

// Reasons of conditions and events. Each has its sentence in the condition's message.
const (
	ReasonAccepted        = "Accepted"
	ReasonURLConflict     = "IssuerURLConflict"
	ReasonReady           = "Ready"
	ReasonPending         = "Pending"
	ReasonNotAccepted     = "NotAccepted"
	ReasonRingUnreadable  = "RingUnreadable"
	ReasonRingFull        = "RingFull"
	ReasonSecretConflict  = "SecretConflict"
	ReasonWriteFailed     = "WriteFailed"
	ReasonRotationOverdue = "RotationOverdue"
	ReasonKeysLost        = "KeysLost"
	ReasonKeysStale       = "KeysStale"
	ReasonKeysUnavailable = "KeysUnavailable"

	ReasonRefreshKeysUnreadable = "RefreshKeysUnreadable"
	ReasonRefreshKeysFull       = "RefreshKeysFull"

	ReasonIssuerNotFound = "IssuerNotFound"
	ReasonEnforced       = "Enforced"
	ReasonNotYetApplied  = "NotYetApplied"
	ReasonKeyNotFound    = "KeyNotFound"
	ReasonExpired        = "Expired"
)

// Reasons of events about keys.
const (
	EventKeyCreated   = "KeyCreated"
	EventKeyActivated = "KeyActivated"
	EventKeyRetired   = "KeyRetired"
	EventKeyRemoved   = "KeyRemoved"
	EventKeyRevoked   = "KeyRevoked"

	EventRefreshKeyCreated = "RefreshKeyCreated"
	EventRefreshKeyRemoved = "RefreshKeyRemoved"
	EventRefreshKeyRevoked = "RefreshKeyRevoked"
	// EventRefreshKeysLost says that every session has to log in again, because the Secret with the keys for refresh tokens
	// had vanished.
	EventRefreshKeysLost = "RefreshKeysLost"
)
