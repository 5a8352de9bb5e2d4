package servingcert

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// Leaf is a serving certificate with its key.
type Leaf struct {
	pair tls.Certificate
	// certificate and key are what it was read from, in PEM, so that it is written back as it was.
	certificate, key []byte
}

// Format implements fmt.Formatter, so that the key cannot get into a log.
func (l Leaf) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, nameOf(l.pair.Leaf)) }

// Certificate is the public half.
func (l *Leaf) Certificate() *x509.Certificate { return l.pair.Leaf }

func newLeaf(certificate *x509.Certificate, key *ecdsa.PrivateKey) (*Leaf, error) {
	encoded, err := certutil.EncodeCertificates(certificate)
	if err != nil {
		return nil, fmt.Errorf("encoding a serving certificate: %w", err)
	}
	private, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return parseLeaf(encoded, private)
}

// errNoLeaf says that there is no serving certificate, or none that TLS could use. It quotes nothing of it.
var errNoLeaf = errors.New("the Secret holds no certificate with its key")

// parseLeaf reads a certificate and the key that belongs to it.
func parseLeaf(certificate, key []byte) (*Leaf, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil || pair.Leaf == nil {
		return nil, errNoLeaf
	}
	return &Leaf{pair: pair, certificate: certificate, key: key}, nil
}

// validAt says whether clients accept the certificate at this time.
func (l *Leaf) validAt(now time.Time) bool {
	return !now.Before(l.pair.Leaf.NotBefore) && !now.After(l.pair.Leaf.NotAfter)
}

// lastMoment is when it must be replaced whoever signs: a twelfth of its life before it expires.
func (l *Leaf) lastMoment() time.Time {
	return l.pair.Leaf.NotAfter.Add(-lifetime(l.pair.Leaf) / 12)
}
