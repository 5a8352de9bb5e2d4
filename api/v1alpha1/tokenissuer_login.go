package v1alpha1

// LoginSources are the ways to log in.
//
// +kubebuilder:validation:XValidation:rule="has(self.serviceAccounts) || has(self.htpasswd) || (has(self.upstreams) && size(self.upstreams) > 0)",message="set at least one of serviceAccounts, htpasswd and upstreams, or nobody can log in"
// +kubebuilder:validation:XValidation:rule="(has(self.htpasswd) ? 1 : 0) + (has(self.upstreams) ? size(self.upstreams) : 0) <= 1 || ((!has(self.htpasswd) || size(self.htpasswd.subjectPrefix) > 0) && (!has(self.upstreams) || self.upstreams.all(u, size(u.subjectPrefix) > 0 && self.upstreams.exists_one(other, other.subjectPrefix == u.subjectPrefix) && (!has(self.htpasswd) || u.subjectPrefix != self.htpasswd.subjectPrefix))))",message="where users come from more than one of htpasswd and upstreams, each must have a subjectPrefix of its own, or two people could get the same subject"
type LoginSources struct {
	// Workloads that have authenticated a user themselves open sessions with
	// their ServiceAccount token, whose audience must be the issuer URL. Who may
	// is decided by RBAC: the verb "issue" on this TokenIssuer. They choose the
	// subject freely, also one of another source: give that right with care.
	// +optional
	ServiceAccounts *ServiceAccountLogin `json:"serviceAccounts,omitempty"`

	// Users who log in with a name and a password.
	// +optional
	Htpasswd *HtpasswdLogin `json:"htpasswd,omitempty"`

	// Issuers whose ID tokens are exchanged for a session (RFC 8693). At most 8.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=issuerURL
	Upstreams []UpstreamLogin `json:"upstreams,omitempty"`
}

// ServiceAccountLogin lets workloads open sessions. RBAC decides which ones,
// so there is nothing to set: an empty object switches it on.
type ServiceAccountLogin struct{}

// HtpasswdLogin is where the users with a password are found.
type HtpasswdLogin struct {
	// The Secret with the users: its key "auth" holds lines in the form of
	// Apache's htpasswd with bcrypt hashes, as ingress controllers use it. A
	// user who is taken out cannot refresh any more.
	// +required
	SecretRef SecretReference `json:"secretRef"`

	// What is put in front of the user name to make the subject: nothing, or
	// letters, digits, '.', '_' and '-' with a colon at the end, such as
	// "staff:". At most 64 characters. Default: nothing.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9._-]+:)?$`
	SubjectPrefix string `json:"subjectPrefix,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// The name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// UpstreamLogin is an issuer whose ID tokens are trusted.
type UpstreamLogin struct {
	// The value of the claim "iss" of its tokens. Its keys are found by OpenID
	// Connect Discovery there. https only.
	// +required
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && size(url(self).getHostname()) > 0 && !self.contains('?') && !self.contains('#') && !self.matches('^https://[^/]*@')",message="login.upstreams.issuerURL must be an absolute https URL without user name, query and fragment"
	IssuerURL string `json:"issuerURL"`

	// The clients of that issuer whose ID tokens are accepted: one of them must
	// be in the claim "aud". Without this list a token that was issued to any
	// application at that issuer could log in here. 1 to 16.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	Audiences []string `json:"audiences"`

	// The certificate authorities, in PEM, that the server's certificate must
	// chain to, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="login.upstreams.caBundle must hold at least one certificate in PEM"
	CABundle string `json:"caBundle,omitempty"`

	// The claim that says who the user is: a string that the issuer never gives
	// to another user. An email address mostly is not one. Default: sub.
	// +optional
	// +kubebuilder:default=sub
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	SubjectClaim string `json:"subjectClaim,omitempty"`

	// What is put in front of the value of subjectClaim to make the subject:
	// nothing, or letters, digits, '.', '_' and '-' with a colon at the end,
	// such as "google:". At most 64 characters. Default: nothing.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9._-]+:)?$`
	SubjectPrefix string `json:"subjectPrefix,omitempty"`

	// Which claims of the ID token the login takes over, and under which names.
	// All others are dropped. At most 32.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Claims []ClaimMapping `json:"claims,omitempty"`
}

// ClaimMapping takes over one claim of an ID token.
type ClaimMapping struct {
	// The name that the claim has in the login.
	// +required
	Name ClaimName `json:"name"`
	// The name of the claim in the ID token. Default: the same.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	From string `json:"from,omitempty"`
}
