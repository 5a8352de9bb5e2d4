package servingcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// ErrUnreadable is returned for authorities that cannot be read. They are lost, and others take their place.
var ErrUnreadable = errors.New("the authorities for serving certificates cannot be read")

// ErrNewer is returned for authorities that a later version of Keyturn has written. They are not touched.
var ErrNewer = errors.New("the authorities for serving certificates were written by a later version of Keyturn")

const (
	documentVersion = 1
	// maxDocumentBytes is far more than MaxAuthorities need, and what is read at most, of ca.crt as well.
	maxDocumentBytes = 128 << 10
)

type document struct {
	Version     int                 `json:"version"`
	Authorities []authorityDocument `json:"authorities"`
}

type authorityDocument struct {
	// Certificate is in PEM, and so is Key, as PKCS#8 (RFC 5208); empty when the authority signs no more.
	Certificate string `json:"certificate"`
	Key         string `json:"key,omitempty"`
	// PublishedAt is absent before the authority was seen in ca.crt.
	PublishedAt *time.Time `json:"publishedAt,omitempty"`
}

// encodeAuthorities renders the authorities for their Secret. It is secret as a whole.
func encodeAuthorities(authorities []Authority) ([]byte, error) {
	encoded := document{Version: documentVersion, Authorities: make([]authorityDocument, len(authorities))}
	for i := range authorities {
		authority, entry := &authorities[i], &encoded.Authorities[i]
		certificate, err := certutil.EncodeCertificates(authority.Certificate)
		if err != nil {
			return nil, fmt.Errorf("encoding the authority %v: %w", authority, err)
		}
		entry.Certificate = string(certificate)
		if authority.key != nil {
			key, err := encodeKey(authority.key)
			if err != nil {
				return nil, err
			}
			entry.Key = string(key)
		}
		if !authority.PublishedAt.IsZero() {
			at := authority.PublishedAt.UTC()
			entry.PublishedAt = &at
		}
	}
	text, err := json.Marshal(encoded)
	if err != nil {
		return nil, fmt.Errorf("encoding %d authorities for serving certificates: %w", len(authorities), err)
	}
	return text, nil
}

// decodeAuthorities reads what encodeAuthorities has written, and checks what Plan relies on. Its errors quote nothing
// of the document.
func decodeAuthorities(encoded []byte) ([]Authority, error) {
	if len(encoded) > maxDocumentBytes {
		return nil, unreadable("they are larger than %d bytes", maxDocumentBytes)
	}
	var read document
	// The decoder's own error can quote what it read, and that can be a key.
	if json.Unmarshal(encoded, &read) != nil || read.Version < 1 {
		return nil, unreadable("they are not the JSON object that is expected")
	}
	if read.Version > documentVersion {
		return nil, fmt.Errorf("%w: their version is %d and this program knows only version %d; run the version that "+
			"wrote them, or delete the Secret", ErrNewer, read.Version, documentVersion)
	}
	if len(read.Authorities) < 1 || len(read.Authorities) > MaxAuthorities {
		return nil, unreadable("they are %d, and there must be 1 to %d", len(read.Authorities), MaxAuthorities)
	}
	authorities := make([]Authority, len(read.Authorities))
	for i := range read.Authorities {
		var err error
		if authorities[i], err = read.Authorities[i].authority(); err != nil {
			return nil, err
		}
	}
	return authorities, nil
}

func (d *authorityDocument) authority() (Authority, error) {
	certificates := parseCertificates([]byte(d.Certificate))
	if len(certificates) != 1 || !oneOfOurs(certificates[0]) {
		return Authority{}, unreadable("one of them is not a certificate authority of Keyturn")
	}
	authority := Authority{Certificate: certificates[0]}
	if d.PublishedAt != nil {
		authority.PublishedAt = d.PublishedAt.UTC()
	}
	if d.Key == "" {
		return authority, nil
	}
	parsed, err := keyutil.ParsePrivateKeyPEM([]byte(d.Key))
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || !key.PublicKey.Equal(authority.Certificate.PublicKey) {
		return Authority{}, unreadable("the key of %v does not belong to it", authority)
	}
	authority.key = key
	return authority, nil
}

// parseCertificates reads ca.crt. It returns nil if anything in it is not a certificate: then clients may not be able
// to read it either.
func parseCertificates(encoded []byte) []*x509.Certificate {
	if len(encoded) > maxDocumentBytes {
		return nil
	}
	var certificates []*x509.Certificate
	for rest := bytes.TrimSpace(encoded); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != certutil.CertificateBlockType {
			return nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil || len(certificates) == MaxAuthorities {
			return nil
		}
		certificates = append(certificates, certificate)
	}
	return certificates
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyutil.PrivateKeyBlockType, Bytes: raw}), nil
}

func unreadable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnreadable, fmt.Sprintf(format, args...))
}
