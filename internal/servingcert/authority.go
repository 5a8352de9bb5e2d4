package servingcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"slices"
	"time"
)

// organization is the subject's in every certificate that is made here. An authority that says so is one of ours.
const organization = "keyturn.dev"

// Authority signs serving certificates, or did so once and is still trusted.
type Authority struct {
	// Certificate is what clients trust. It is signed by itself.
	Certificate *x509.Certificate
	// PublishedAt is when it was first seen in ca.crt; zero before that.
	PublishedAt time.Time

	// key is nil when the authority signs no more.
	key *ecdsa.PrivateKey
}

// Format implements fmt.Formatter, so that the key cannot get into a log.
func (a Authority) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, nameOf(a.Certificate)) }

// nameOf names a certificate in a sentence.
func nameOf(certificate *x509.Certificate) string {
	return fmt.Sprintf("%q until %s", certificate.Subject.CommonName, certificate.NotAfter.UTC().Format(time.RFC3339))
}

// newAuthority makes an authority that can sign serving certificates and no further authorities.
//
// Every authority has a name of its own, since some TLS libraries find the signer of a certificate by that name, and
// take the first that they meet. There are no name constraints: hosts that change would need another authority, and
// with it the whole overlap.
func newAuthority(now time.Time, policy Policy) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, fmt.Errorf("generating the key of an authority for serving certificates: %w", err)
	}
	template := &x509.Certificate{
		Subject:               subject("Keyturn serving authority " + rand.Text()[:8]),
		NotBefore:             now.Add(-policy.ClockSkew),
		NotAfter:              now.Add(policy.AuthorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	certificate, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return Authority{}, fmt.Errorf("signing an authority for serving certificates: %w", err)
	}
	return Authority{Certificate: certificate, key: key}, nil
}

func subject(name string) pkix.Name {
	return pkix.Name{Organization: []string{organization}, CommonName: name}
}

// issue makes a serving certificate with a key of its own.
func (a *Authority) issue(now time.Time, hosts Hosts, policy Policy) (*Leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating the key of a serving certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject:               subject("keyturn"),
		NotBefore:             now.Add(-policy.ClockSkew),
		NotAfter:              now.Add(policy.LeafLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	hosts.fill(template)
	certificate, err := sign(template, a.Certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a serving certificate for %q: %w", []string(hosts), err)
	}
	return newLeaf(certificate, key)
}

// sign leaves the serial number to crypto/x509, which draws it at random, with more than 128 bits (RFC 5280 section
// 4.1.2.2), and so it does the identifiers of the keys.
func sign(
	template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey,
) (*x509.Certificate, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}

// signed says whether the authority has signed this certificate, whatever the time.
func (a *Authority) signed(certificate *x509.Certificate) bool {
	return bytes.Equal(certificate.AuthorityKeyId, a.Certificate.SubjectKeyId) &&
		certificate.CheckSignatureFrom(a.Certificate) == nil
}

// canSign says whether the authority can sign now, and will be trusted as long as what it signs.
func (a *Authority) canSign(now time.Time, policy Policy) bool {
	return a.key != nil && !now.Before(a.Certificate.NotBefore) &&
		!now.Add(policy.LeafLifetime).After(a.Certificate.NotAfter)
}

// ripeAt is when every client has read the authority in ca.crt; zero while it does not stand there.
func (a *Authority) ripeAt(policy Policy) time.Time {
	if a.PublishedAt.IsZero() {
		return time.Time{}
	}
	return a.PublishedAt.Add(policy.Overlap + policy.ClockSkew)
}

func (a *Authority) ripe(now time.Time, policy Policy) bool {
	at := a.ripeAt(policy)
	return !at.IsZero() && !now.Before(at)
}

// oneOfOurs says whether a certificate in ca.crt is an authority that was made here.
func oneOfOurs(certificate *x509.Certificate) bool {
	return certificate.IsCA && slices.Equal(certificate.Subject.Organization, []string{organization}) &&
		certificate.CheckSignatureFrom(certificate) == nil
}

// lifetime is how long a certificate is good for as a whole.
func lifetime(certificate *x509.Certificate) time.Duration {
	return certificate.NotAfter.Sub(certificate.NotBefore)
}

// renewAt is after two thirds of a certificate's life.
func renewAt(certificate *x509.Certificate) time.Time {
	return certificate.NotAfter.Add(-lifetime(certificate) / 3)
}
