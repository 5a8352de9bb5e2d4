// Package issuers keeps the registry: for each issuer one immutable snapshot of keys, policy and revocations.
package issuers

import "time"

// Publication is what an issuer of our own shows the world. It is rendered once per change and immutable.
type Publication struct {
	// IssuerURL is the value of the claim "iss".
	IssuerURL string
	// JWKS is the JWK Set (RFC 7517 section 5).
	JWKS Document
	// Discovery serves OpenID Connect Discovery 1.0 section 3 and RFC 8414 section 2 alike.
	Discovery Document
	// MaxAge is how long a cache may keep either.
	MaxAge time.Duration
}

// Document is a rendered body and its strong entity tag (RFC 9110 section 8.8.3), quotes included.
type Document struct {
	Body []byte
	ETag string
}

// Publications finds what issuers publish. It is safe for concurrent use and takes no lock. A result is nil where there
// is no such issuer, or where it is external.
type Publications interface {
	PublicationByURL(issuerURL string) *Publication
	PublicationByName(namespace, name string) *Publication
}
